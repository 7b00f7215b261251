package portshare

import (
	"errors"
	"fmt"
	"log/slog"
)

// Errors of this package, to be compared with errors.Is.
var (
	// ErrNoRecord: nobody takes part in the session's record, so there is none.
	ErrNoRecord = errors.New("no port record: neither a controller nor a companion runs in this session")
	// ErrNotReady: the record is being made or written, by someone who may be stopped.
	ErrNotReady = errors.New("the port record is not ready")
	// ErrVersion: the record has another layout.
	ErrVersion = errors.New("the port record has another layout")
	// ErrStale: what the record says is no longer true: its holder has died, or the
	// session's runtime directory has been replaced. Join again.
	ErrStale = errors.New("the port record is stale")
	// ErrHeld: another process is the controller of this record.
	ErrHeld = errors.New("another controller holds the port record")
	// ErrNoPort: no port of the range is free.
	ErrNoPort = errors.New("no free port")
	// ErrClosed: the Record was closed.
	ErrClosed = errors.New("the port record was closed")
)

// State says how far the session's controller is.
type State uint32

// The states of a record; see the package comment for how they follow each other.
const (
	Empty     State = 0 // no port yet
	Reserved  State = 1 // a port, but nobody listens on it
	Listening State = 2 // the holder listens on the port
	Draining  State = 3 // the holder still lives but accepts nothing new
)

// String returns the word for the state that status and documentation use.
func (s State) String() string {
	switch s {
	case Empty:
		return "empty"
	case Reserved:
		return "reserved"
	case Listening:
		return "listening"
	case Draining:
		return "draining"
	}
	return fmt.Sprintf("state %d", uint32(s))
}

// Info is a consistent copy of the record. It holds the session key: whoever has it
// can command the controller. It never prints the key.
type Info struct {
	State      State
	Generation uint64 // raised with every listening and every new port
	Port       int    // on 127.0.0.1
	PID        int    // the holder, 0 when there is none
	Start      uint64 // the holder's start time, in the system's own unit
	Endpoint   string // where the engine answers, at most 104 bytes
	Key        [32]byte
	CertSHA256 [32]byte

	namespace uint32 // of the holder's process id
}

// String describes the record without its secrets.
func (i Info) String() string {
	text := fmt.Sprintf("%s, port %d, generation %d", i.State, i.Port, i.Generation)
	if i.PID != 0 {
		text += fmt.Sprintf(", pid %d", i.PID)
	}
	return text
}

// GoString is String: %#v must not print the key either.
func (i Info) GoString() string { return "portshare.Info{" + i.String() + "}" }

// LogValue is String: a log must not hold the key.
func (i Info) LogValue() slog.Value { return slog.StringValue(i.String()) }

// held reports whether the record claims a living holder.
func (i Info) held() bool { return i.State == Listening || i.State == Draining }

// released is i without its holder: reserved, the same port and generation.
func (i Info) released() Info {
	return Info{State: Reserved, Generation: i.Generation, Port: i.Port}
}
