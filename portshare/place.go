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
	// leave ends this participant's share in the record's life, under the gate,
	// and tells whether it was the last.
	leave() (last bool, err error)
	// close unmaps the memory.
	close() error
}

// sessionPlace is the record of a session. Its names are APP.record, APP.gate and
// APP.life.
type sessionPlace struct {
	session session.Session
	app     string
	memory  *shm.Named
	life    *life
}

func (p *sessionPlace) gate() (func(), error) { return lockGate(p.session, p.app) }

func lockGate(s session.Session, app string) (func(), error) {
	ctx, cancel := context.WithTimeout(context.Background(), gatePatience)
	defer cancel()
	lock, err := singleton.Acquire(s, app+".gate", singleton.Wait(ctx))
	if errors.Is(err, singleton.ErrHeld) {
		return nil, fmt.Errorf("%w: another process has had its gate locked for %v and may be stopped; resume or end it (%w)",
			ErrNotReady, gatePatience, err)
	}
	if err != nil {
		return nil, err
	}
	// Releasing cannot fail in a way that keeps the lock: its handle is closed.
	return func() { lock.Release() }, nil //nolint:errcheck // see above
}

// open maps the record and takes part in its life. The caller has the gate. first
// tells that nobody else takes part.
func (p *sessionPlace) open() (first bool, err error) {
	memory, made, err := shm.OpenNamed(p.session, p.app+".record", memorySize)
	if err != nil {
		return false, err
	}
	p.memory = memory
	p.life, first, err = enter(p.session, p.app, made)
	if err != nil {
		return false, errors.Join(err, memory.Close())
	}
	if err := p.check(); err != nil {
		_, leaveErr := p.leave()
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

func (p *sessionPlace) leave() (bool, error) { return p.life.leave() }

func (p *sessionPlace) close() error { return p.memory.Close() }
