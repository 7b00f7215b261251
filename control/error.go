package control

import (
	"context"
	"errors"
	"net/http"
)

// Code classes an error for programs. The command line turns it into an exit code.
type Code string

// The error codes.
const (
	CodeFailed      Code = "failed"
	CodeUsage       Code = "usage"
	CodeNotFound    Code = "not_found"
	CodeConflict    Code = "conflict"    // not possible in the present state
	CodeNoMemory    Code = "no_memory"   // no room on disk or in shared memory
	CodeRefused     Code = "refused"     // this caller may not
	CodeUnknownKey  Code = "unknown_key" // a server's host key is not trusted yet
	CodeDraining    Code = "draining"    // the controller is ending
	CodeUnavailable Code = "unavailable" // no controller answers; only a Client says so
)

// Exit is the exit code of a program that ends because of c.
func (c Code) Exit() int {
	exit, _ := c.meaning()
	return exit
}

// meaning is the one table of what a code says to a shell and to HTTP.
func (c Code) meaning() (exit, status int) {
	switch c {
	case CodeUsage:
		return 2, http.StatusBadRequest
	case CodeNotFound:
		return 1, http.StatusNotFound
	case CodeConflict:
		return 1, http.StatusConflict
	case CodeNoMemory:
		return 1, http.StatusInsufficientStorage
	case CodeRefused:
		return 5, http.StatusForbidden
	case CodeUnknownKey:
		return 5, http.StatusPreconditionFailed
	case CodeDraining:
		return 4, http.StatusServiceUnavailable
	case CodeUnavailable:
		return 4, http.StatusBadGateway
	}
	return 1, http.StatusInternalServerError
}

// Error is what every call of the API fails with. It holds no secrets.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"` // what happened and why
	Next    string `json:"next"`    // what to do about it
	Cause   error  `json:"-"`       // for errors.Is; stays in this process
}

func (e *Error) Error() string {
	if e.Next == "" {
		return e.Message
	}
	return e.Message + "\n" + e.Next
}

// Unwrap gives errors.Is and errors.As the cause.
func (e *Error) Unwrap() error { return e.Cause }

// AsError is err as an [*Error]: itself when it is or wraps one, else an
// internal error with its text. It is nil for nil.
func AsError(err error) *Error {
	var known *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: CodeFailed, Message: "the call was given up: " + err.Error(), Cause: err}
	}
	return &Error{
		Code:    CodeFailed,
		Message: "internal error: " + err.Error(),
		Next:    "Run `controller doctor` and look into the controller's log.",
		Cause:   err,
	}
}
