package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"berth/control"
	"berth/portshare"
	"berth/session"
)

// Exit codes that other programs depend on.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRunning = 3 // a controller of this session runs already
	exitNobody  = 4 // no controller runs and none could be started
	exitRefused = 5 // authorisation: a password, a host key, another user
)

// exitError carries the exit code beside the error it is for.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: code, err: err}
}

// usage is an error about how the program was called.
func usage(what, next string) error {
	return withCode(exitUsage, &control.Error{Code: control.CodeUsage, Message: what, Next: next})
}

// failure is an error with its next step; its code becomes the exit code.
func failure(code control.Code, next, format string, args ...any) error {
	return &control.Error{Code: code, Message: fmt.Sprintf(format, args...), Next: next}
}

func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if errors.Is(err, session.ErrUnsafe) || errors.Is(err, portshare.ErrRefused) {
		return exitRefused // whoever wraps it, and in whatever
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return control.AsError(err).Code.Exit()
}

// report writes an error for people: what happened on the first line, what to do
// next on the following ones, indented.
func report(w io.Writer, program string, err error) {
	lines := strings.Split(strings.TrimRight(err.Error(), "\n"), "\n")
	fmt.Fprintf(w, "%s: %s\n", program, lines[0])
	for _, l := range lines[1:] {
		fmt.Fprintf(w, "  %s\n", l)
	}
}
