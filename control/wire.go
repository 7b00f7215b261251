package control

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// read decodes the one JSON object that a request's body holds. Unknown fields
// are refused: a misspelt one must not be silently without effect.
func read[T any](r *http.Request) (v T, err error) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err = d.Decode(&v); err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one JSON value")
		}
	}
	if err == nil {
		return v, nil
	}
	var zero T
	return zero, usage("the request's body is not as it should be: "+err.Error(), "See /v1/openapi.json.")
}

func usage(message, next string) *Error {
	return &Error{Code: CodeUsage, Message: message, Next: next}
}

// respond answers v, or passes the error on.
func respond(w http.ResponseWriter, status int, v any, err error) error {
	if err == nil {
		reply(w, status, v)
	}
	return err
}

// done answers a call that has nothing to say.
func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// command runs a call that takes and answers nothing.
func (s *Server) command(w http.ResponseWriter, r *http.Request, run func() error) error {
	if _, err := read[struct{}](r); err != nil {
		return err
	}
	return done(w, run())
}

func reply(w http.ResponseWriter, status int, v any) {
	patient(w)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// patient gives the reader of an answer a bounded time from now to take it.
func patient(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeReply))
}

// some makes an empty list of none: in JSON [] and never null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
