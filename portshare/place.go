package portshare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/shm"
	"berth/session"
	"berth/singleton"
)

// gatePatience bounds the wait for the gate, which is held for milliseconds unless
// its holder has been stopped.
const gatePatience = 10 * time.Second

// place is where a record lies, and the locks around it.
type place interface {
	// gate keeps all other writers out until unlock. It is not reentrant.
	gate() (unlock func(), err error)
	// check fails with ErrStale when others find another record than this one.
	check() error
	// leave ends this participant's part in the record's life, and tells whether
	// it was the last; without the gate that cannot be told.
	leave(gated bool) (last bool, err error)
	// close unmaps the memory.
	close() error
	// grip shows, until release or the end of this process, that the holder lives;
	// gripped reports whether somebody has it. See takeGrip.
	grip() (release func() error, err error)
	gripped() bool
}

// sessionPlace is the record of a session. Its names are APP.record, APP.gate and
// APP.life.
type sessionPlace struct {
	session session.Session
	app     string
	memory  *shm.Named
	life    *life
}

func (p *sessionPlace) gate() (func(), error) {
	lock, err := lockGate(p.session, p.app)
	if err != nil {
		return nil, err
	}
	return opener(lock), nil
}

// opener releases a gate. That cannot fail in a way that keeps it locked, because its
// handle is closed.
func opener(gate *singleton.Lock) func() {
	return func() { gate.Release() } //nolint:errcheck // see above
}

func lockGate(s session.Session, app string) (*singleton.Lock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), gatePatience)
	defer cancel()
	lock, err := singleton.Acquire(s, app+".gate", singleton.Wait(ctx))
	if errors.Is(err, singleton.ErrHeld) {
		return nil, fmt.Errorf("%w: another process has had its gate locked for %v and may be stopped; resume or end it (%w)",
			ErrNotReady, gatePatience, err)
	}
	return lock, err
}

// open maps the record and takes part in its life. first tells that nobody else does.
//
// The three files are opened one after the other, and the runtime directory may be
// exchanged in between: gate in the old one, record and life in the new one, where
// somebody else has the gate. So all of them are looked at again at the end.
func (p *sessionPlace) open(gate *singleton.Lock) (first bool, err error) {
	memory, made, err := shm.OpenNamed(p.session, p.app+".record", memorySize)
	if err != nil {
		return false, err
	}
	p.memory = memory
	p.life, first, err = enter(p.session, p.app, made)
	if err != nil {
		return false, errors.Join(err, memory.Close())
	}
	err = p.check()
	if lost := gate.Check(); err == nil && lost != nil {
		err = fmt.Errorf("%w: %w", ErrStale, lost)
	}
	if err != nil {
		_, leaveErr := p.leave(false)
		return false, errors.Join(err, leaveErr, memory.Close())
	}
	return first, nil
}

func (p *sessionPlace) check() error {
	if err := p.memory.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrStale, err)
	}
	return nil
}

func (p *sessionPlace) grip() (func() error, error) { return takeGrip(p.session, p.app) }

func (p *sessionPlace) gripped() bool { return gripped(p.session, p.app) }

func (p *sessionPlace) leave(gated bool) (bool, error) { return p.life.leave(gated) }

func (p *sessionPlace) close() error { return p.memory.Close() }
