package portshare

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"berth/session"
)

// Record is this process's part in the session's port record. Its methods may be
// called from any goroutine. As long as it is open the port stays known, and on
// Linux reserved, whoever else dies. It uses one thread that sleeps in the kernel.
type Record struct {
	session session.Session
	app     string
	ports   portRange
	me      process
	place   place
	cell    cell
	bell    bell
	// The constants of these names, which tests change: one that is about wake-ups
	// must not be saved by the backstop.
	backstop, dyingPatience time.Duration

	running context.Context // ends with Close
	stop    context.CancelFunc
	tasks   sync.WaitGroup
	closing sync.Once
	closed  error

	// Lock order: the gate between processes, then mem, then mu.
	mem      sync.RWMutex // keeps the memory mapped while it is read or written
	unmapped bool

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced after each change of the record
	held     reservation
	serving  int          // the port that Listen gave out, 0 for none
	ungrip   func() error // what shows others that this holder lives; nil without it
	watching process
	unwatch  context.CancelFunc
}

// Option changes what [Join] and [Ensure] do.
type Option func(*Record)

// Ports sets the range in which a first participant looks for a port, instead of
// the one that BERTH_PORTS names as "FIRST-LAST", or else the dynamic ports 49152 to
// 65535. A port that is known already stays.
func Ports(first, last int) Option {
	return func(r *Record) { r.ports = portRange{first, last} }
}

// Join takes part in the record of app ("berth" for the controller) in session s.
// The first participant resets what ended processes may have left, scans for a free
// port and publishes it as reserved. Close the Record to leave.
func Join(s session.Session, app string, opts ...Option) (*Record, error) {
	r, err := joinSession(s, app, opts)
	for i := 0; i < 3 && errors.Is(err, ErrStale); i++ { // exchanged under our hands
		r, err = joinSession(s, app, opts)
	}
	if err != nil {
		return nil, fmt.Errorf("join the port record of %s: %w", s, err)
	}
	return r, nil
}

func joinSession(s session.Session, app string, opts []Option) (*Record, error) {
	p := &sessionPlace{session: s, app: app}
	gate, err := lockGate(s, app)
	if err != nil {
		return nil, err
	}
	defer opener(gate)()
	first, err := p.open(gate)
	if err != nil {
		return nil, err
	}
	r, err := p.join(first, opts)
	if err != nil {
		_, leaveErr := p.leave(false)
		return nil, errors.Join(err, leaveErr, p.close())
	}
	return r, nil
}

// join makes the Record of an open place. The caller has the gate.
func (p *sessionPlace) join(first bool, opts []Option) (*Record, error) {
	c, err := newCell(p.memory.Bytes())
	if err != nil {
		return nil, err
	}
	b, err := newBell(p.session, p.app, p.memory, c.sequence())
	if err != nil {
		return nil, err
	}
	return newRecord(p.session, p.app, p, c, b, first, opts)
}

// newRecord brings the record in order and starts to follow it. The caller has the
// gate, and closes the place when this fails; the bell is closed here.
func newRecord(s session.Session, app string, p place, c cell, b bell, first bool, opts []Option) (*Record, error) {
	r := &Record{session: s, app: app, place: p, cell: c, bell: b,
		backstop: backstop, dyingPatience: dyingPatience,
		changed: make(chan struct{})}
	for _, opt := range opts {
		opt(r)
	}
	r.running, r.stop = context.WithCancel(context.Background())
	err := r.begin(first)
	if err != nil {
		r.stop()
		r.held.close()
	}
	// Also after a failure: a bell is closed by its waiter.
	r.tasks.Go(r.follow)
	if err != nil {
		r.bell.close()
		r.tasks.Wait()
		return nil, err
	}
	return r, nil
}

// begin resets the record when this process is the first participant, and makes
// sure that it names a port.
func (r *Record) begin(first bool) (err error) {
	if r.ports == (portRange{}) {
		if r.ports, err = configuredPorts(); err != nil {
			return err
		}
	}
	if err := r.ports.check(); err != nil {
		return err
	}
	if r.me == (process{}) {
		if r.me, err = self(); err != nil {
			return err
		}
	}
	if first {
		if err := r.write(Info{}); err != nil {
			return err
		}
	}
	_, err = r.change(nil)
	return err
}

// Info returns a consistent copy of the record. When the holder that it names has
// died, Info first publishes that, unless another participant already has. It fails
// with [ErrStale] when the session's runtime directory has been replaced.
func (r *Record) Info() (Info, error) {
	info, err := r.look()
	if errors.Is(err, errCorrupt) || errors.Is(err, ErrNotReady) || err == nil && r.dead(info) {
		return r.update(nil)
	}
	return info, err
}

// look reads the record without repairing anything.
func (r *Record) look() (Info, error) {
	r.mem.RLock()
	defer r.mem.RUnlock()
	if r.unmapped {
		return Info{}, ErrClosed
	}
	if err := r.place.check(); err != nil {
		return Info{}, err
	}
	const patience = 1000 // a write takes well under a microsecond per try
	for range patience {
		if bytes, _, ok := r.cell.load(); ok {
			return parse(&bytes)
		}
		runtime.Gosched()
	}
	return Info{}, fmt.Errorf("%w: it is being written", ErrNotReady)
}

func (r *Record) sequence() uint32 {
	r.mem.RLock()
	defer r.mem.RUnlock()
	if r.unmapped {
		return 0
	}
	return atomic.LoadUint32(r.cell.sequence())
}

// dead reports whether info claims a holder that has ended. One whose process id
// means nothing here has ended when it has let go of its grip.
func (r *Record) dead(info Info) bool {
	p := info.holder()
	if !info.held() || p == r.me {
		return false
	}
	if !p.visible(r.me) {
		return !r.place.gripped()
	}
	return !p.alive()
}

// Close leaves the record. A controller's entry goes back to reserved, and the last
// participant wipes the memory. Waiting calls end with [ErrClosed]. A listener from
// Listen is the caller's to close.
func (r *Record) Close() error {
	r.closing.Do(func() { r.closed = r.close() })
	return r.closed
}

func (r *Record) close() error {
	r.stop()
	r.bell.close()
	r.tasks.Wait()
	left := r.depart()
	r.mem.Lock()
	defer r.mem.Unlock()
	r.unmapped = true
	return errors.Join(left, r.place.close())
}

// depart gives up what this participant holds, and wipes the record when nobody
// else takes part: keys shall not lie about. It leaves in any case, also when the gate
// stays locked; then the others see this process's end and do the rest.
func (r *Record) depart() error {
	unlock, err := r.place.gate()
	if err != nil {
		_, leaveErr := r.place.leave(false)
		r.release()
		return errors.Join(err, leaveErr)
	}
	defer unlock()
	if r.place.check() == nil {
		_, err = r.change(withdraw(r.me))
		if errors.Is(err, ErrHeld) { // another process is the controller
			err = nil
		}
	}
	last, leaveErr := r.place.leave(true)
	if leaveErr == nil && last {
		r.bell.ring(r.cell.store(raw{}) - 2)
	}
	// Under the gate too, so that the next first participant finds the port free.
	r.release()
	return errors.Join(err, leaveErr)
}

// release lets go of the port, and of the grip.
func (r *Record) release() {
	r.loosen()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held.close()
}

// grip shows others that this process lives, from before it becomes the holder. The
// caller has the gate.
func (r *Record) grip() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ungrip != nil {
		return nil
	}
	release, err := r.place.grip()
	if err == nil {
		r.ungrip = release
	}
	return err
}

// loosen undoes grip.
func (r *Record) loosen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ungrip != nil {
		r.ungrip() //nolint:errcheck // its handle is closed, which is enough
		r.ungrip = nil
	}
}
