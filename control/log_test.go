package control

import (
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

// What a caller did wrong must not look like a fault of the controller.
func TestMistakesAreNotLoggedAsErrors(t *testing.T) {
	for code, level := range map[Code]string{CodeFailed: "ERROR", CodeNotFound: "INFO", CodeConflict: "INFO", CodeNoMemory: "INFO"} {
		var log strings.Builder
		s := NewServer(ServerConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
		r := httptest.NewRequest("POST", "/v1/packages", nil)
		r.Pattern = "POST /v1/packages"
		s.fail(httptest.NewRecorder(), r, &Error{Code: code, Message: "no", Cause: errors.New("cause")})
		if got := log.String(); !strings.Contains(got, "level="+level) || !strings.Contains(got, "method=POST path=/v1/packages ") {
			t.Errorf("%s: %s", code, got)
		}
	}
}
