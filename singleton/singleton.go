// Package singleton admits one instance of a program per session, or per machine.
//
// The lock is the kernel's: it ends with its process, however that ends, and
// cannot be left behind. On Unix it is an advisory lock on a file of its own in the
// session's runtime directory, on Windows an owned mutex. Who holds it is not
// recorded here; a controller says so in the port record.
package singleton

import (
	"context"
	"errors"
	"fmt"

	"berth/session"
)

// ErrHeld is wrapped by the error of [Acquire] when another instance has the lock.
var ErrHeld = errors.New("already running")

// ErrLost is wrapped by the error of [Lock.Check].
var ErrLost = errors.New("the lock no longer keeps others out")

// Lock is the right to be the only instance. Its methods may be called from any
// goroutine.
type Lock struct {
	held holder
}

// holder is what each system implements: release must be idempotent.
type holder interface {
	release() error
	check() error
	lost() <-chan struct{}
}

// Option changes what [Acquire] does.
type Option func(*options)

type options struct {
	machine bool
	wait    context.Context
}

// PerMachine asks for one instance on the whole machine instead of one in the
// session. Every user can take such a lock, and thereby keep all others out.
func PerMachine() Option { return func(o *options) { o.machine = true } }

// Wait makes [Acquire] wait for a lock that is held until ctx ends.
func Wait(ctx context.Context) Option { return func(o *options) { o.wait = ctx } }

// Acquire takes the lock of app in session s, or answers an error that wraps
// [ErrHeld] when somebody has it. The lock lasts until Release or the end of the
// process. A second Acquire in the same process is refused like any other.
func Acquire(s session.Session, app string, opts ...Option) (*Lock, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if err := session.CheckApp(app); err != nil {
		return nil, err
	}
	held, err := acquire(s, app, o)
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", app, o.scope(s), err)
	}
	return &Lock{held: held}, nil
}

func (o options) scope(s session.Session) string {
	if o.machine {
		return "this machine"
	}
	return s.String()
}

// Release gives the lock up. A second call does nothing.
func (l *Lock) Release() error { return l.held.release() }

// Check fails with [ErrLost] once the lock no longer keeps others out. It is the
// question to which [Lock.Lost] is the event.
func (l *Lock) Check() error { return l.held.check() }

// Lost is closed when the lock no longer keeps others out, because the runtime
// directory it lay in has vanished or been replaced: the session is over, and the
// holder should finish quickly. On Windows that does not happen while the process
// lives. The first call starts to watch.
func (l *Lock) Lost() <-chan struct{} { return l.held.lost() }
