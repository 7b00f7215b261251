package control

// Code classes an error for programs. The command line turns it into an exit code.
type Code string

// The error codes and the exit codes they become.
const (
	CodeFailed     Code = "failed"      // 1
	CodeUsage      Code = "usage"       // 2
	CodeNotFound   Code = "not_found"   // 1
	CodeConflict   Code = "conflict"    // 1: not possible in the present state
	CodeNoMemory   Code = "no_memory"   // 1: no room on disk or in shared memory
	CodeRefused    Code = "refused"     // 5
	CodeDraining   Code = "draining"    // 4: the controller is ending
	CodeUnknownKey Code = "unknown_key" // 5: a server's host key is not trusted yet
)

// Error is what every call of the API fails with. It holds no secrets.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"` // what happened and why
	Next    string `json:"next"`    // what to do about it
}

func (e *Error) Error() string {
	if e.Next == "" {
		return e.Message
	}
	return e.Message + "\n" + e.Next
}
