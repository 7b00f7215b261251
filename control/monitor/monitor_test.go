package monitor_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"berth/control"
	"berth/control/monitor"
)

func TestHandlerServesItsFilesOnly(t *testing.T) {
	for path, want := range map[string]string{
		"/":            "text/html; charset=utf-8",
		"/app.js":      "text/javascript; charset=utf-8",
		"/style.css":   "text/css; charset=utf-8",
		"/icon.svg":    "image/svg+xml",
		"/index.html":  "",
		"/page":        "",
		"/page/":       "",
		"/monitor.go":  "",
		"/../app.js":   "",
		"//app.js":     "",
		"/app.js/":     "",
		"/favicon.ico": "",
	} {
		r := httptest.NewRequest("GET", "http://127.0.0.1/", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		monitor.Handler().ServeHTTP(w, r)
		switch {
		case want == "" && w.Code != http.StatusNotFound:
			t.Errorf("%s: status %d", path, w.Code)
		case want != "" && (w.Code != http.StatusOK || w.Header().Get("Content-Type") != want):
			t.Errorf("%s: status %d, type %q", path, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

// The page works under its Content-Security-Policy: nothing inline, nothing from
// elsewhere, nothing that makes markup of text.
func TestPageNeedsNothingFromElsewhere(t *testing.T) {
	rules := map[string]string{
		"/":          `(?i)https?:|<style|style=|\son[a-z]+=|<script[^>]*>[^<]|<script(?:\s[^>]*)?src="[^/]`,
		"/app.js":    `https?://[a-z0-9]|innerHTML|insertAdjacent|document\.write|\beval\b|Function\(|localStorage|cookie`,
		"/style.css": `(?i)@import|url\(|https?:`,
		"/icon.svg":  `(?i)<script|href|\son[a-z]+=`,
	}
	for path, bad := range rules {
		w := httptest.NewRecorder()
		monitor.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if found := regexp.MustCompile(bad).FindString(w.Body.String()); found != "" || w.Body.Len() == 0 {
			t.Errorf("%s (%d bytes) holds %q", path, w.Body.Len(), found)
		}
	}
}

func TestOpenFile(t *testing.T) {
	dir := t.TempDir()
	var file string
	for _, token := range []string{"aa00", `"><script>alert(1)</script>`} {
		var err error
		file, err = monitor.OpenFile(dir, control.MonitorAccess{URL: "http://127.0.0.1:5000/", Token: token})
		if err != nil {
			t.Fatal(err)
		}
		text := read(t, file)
		if strings.Contains(text, "<script") {
			t.Errorf("not escaped:\n%s", text)
		}
		if token == "aa00" && strings.Count(text, "http://127.0.0.1:5000/#aa00") != 2 {
			t.Errorf("does not lead to the page:\n%s", text)
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if all, _ := filepath.Glob(filepath.Join(dir, "*")); len(all) != 1 {
		t.Errorf("left behind: %v", all)
	}
}

func TestOpenFileRefusesWhatIsNoPage(t *testing.T) {
	dir := t.TempDir()
	for _, a := range []control.MonitorAccess{{}, {URL: "http://127.0.0.1:1/"}, {URL: "javascript:alert(1)", Token: "x"}, {URL: "::", Token: "x"}} {
		if file, err := monitor.OpenFile(dir, a); err == nil {
			t.Errorf("%+v made %s", a, read(t, file))
		}
	}
	if _, err := monitor.OpenFile(filepath.Join(dir, "none"), control.MonitorAccess{URL: "http://127.0.0.1:1/", Token: "x"}); err == nil {
		t.Error("wrote into a directory that isn't there")
	}
}

func read(t *testing.T, file string) string {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
