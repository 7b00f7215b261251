package ipc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"berth/internal/shm"
	"berth/session"
)

// Controller is the name under which companions address the engine's own host.
const Controller = "controller"

// Options of an engine. The zero value is a good one.
type Options struct {
	Log *slog.Logger
	// Budget is the most payload memory that all blocks together may take, in bytes;
	// by default a quarter of the memory that this process may use.
	Budget int64
	// Share is the most of it that the block of one companion may take, in bytes; by
	// default three quarters.
	Share int64
	// Cache is the most memory that retained payloads may take beside that, in bytes;
	// by default a quarter of the budget.
	Cache int64
	// Outgoing and Incoming are the sizes that the halves of a block start with, in
	// bytes; by default 4 MiB and 1 MiB.
	Outgoing, Incoming int
	// Largest is the largest parcel, in bytes; by default half the budget, at most 4 GiB.
	Largest int
	// Unit is the smallest piece of memory: 4096 (default) or 2048 bytes.
	Unit int
	// Window is how many messages of a session may be under way; by default 64.
	Window int
	// Companions is how many may be registered; by default (and at most) 4096.
	Companions int
	// NoSpin has the engine sleep in the kernel at once where it would look for another
	// message for up to 20 microseconds: less power, and round trips that take several
	// times as long.
	NoSpin bool

	patience time.Duration // with a companion that registers
	stall    time.Duration // of a payload that is being retained
	extents  int           // of one companion
}

const defaultSlots = 256

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Budget <= 0 {
		o.Budget = usableMemory() / 4
	}
	if o.Share <= 0 {
		o.Share = o.Budget / 4 * 3
	}
	if o.Cache <= 0 {
		o.Cache = o.Budget / 4
	}
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&o.Outgoing, 4<<20)
	set(&o.Incoming, 1<<20)
	set(&o.Largest, int(min(o.Budget/2, 4<<30)))
	set(&o.Window, 64)
	set(&o.Companions, directoryCapacity)
	set(&o.extents, maxExtents)
	o.patience = max(o.patience, helloTimeout)
	if o.stall <= 0 {
		o.stall = stallTime
	}
	if o.Unit != minUnit {
		o.Unit = 4096
	}
	o.Window = min(o.Window, defaultSlots)
	o.Companions = min(o.Companions, directoryCapacity)
	return o
}

// Engine mediates between the companions of one session: each shares memory with
// the engine alone. All methods are safe for concurrent use.
type Engine struct {
	opts      Options
	log       *slog.Logger
	listener  *listener
	directory *directory
	watchers  watchers
	cache     *cache
	wg        sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	changed  chan struct{} // closed and replaced when room may have become free
	members  map[string]*member
	present  map[*member]bool // members, and who has only dialled yet
	used     int64
	dropped  []Drop
	ledger   ledger
	handlers map[string]Handler
}

// NewEngine starts an engine for the session: companions can dial its Endpoint
// when it returns. There can be one per session.
func NewEngine(s session.Session, o Options) (*Engine, error) {
	path, err := endpointIn(s)
	if err != nil {
		return nil, fmt.Errorf("where the engine listens: %w", err)
	}
	e := &Engine{
		opts: o.withDefaults(), changed: make(chan struct{}),
		members: map[string]*member{}, present: map[*member]bool{}, handlers: map[string]Handler{},
	}
	e.log = e.opts.Log
	e.cache = newCache(e.opts.Cache)
	e.handlers[cacheService] = e.serveCache
	if e.directory, err = newDirectory(os.Getpid()); err != nil {
		return nil, err
	}
	if e.listener, err = listen(path); err != nil {
		_ = e.directory.close()
		return nil, fmt.Errorf("the engine can't listen: %w", err)
	}
	e.watchers.seen = map[*member]uint32{}
	go e.spread()
	e.wg.Go(e.accept)
	return e, nil
}

// Endpoint is what companions dial: it belongs into the port record.
func (e *Engine) Endpoint() string { return e.listener.endpoint() }

// Handle serves the sessions that companions open to "controller/service". It
// replaces an earlier handler of that service.
func (e *Engine) Handle(service string, h Handler) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handlers[service] = h
}

// Open opens a session from the controller to a service of a companion, and waits
// for its answer until ctx ends. Errors are those of Client.Open.
func (e *Engine) Open(ctx context.Context, address string, header []byte) (*Session, error) {
	name, service, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	m := e.members[name]
	e.mu.Unlock()
	if m == nil || !m.registered() {
		return nil, fmt.Errorf("%w: no companion %q is registered", ErrAddress, name)
	}
	return m.link.openSession(ctx, opening{address: address, from: Controller, header: header}, name, service)
}

// Close drops every companion, waits for the handlers of their sessions, and gives
// all memory back but what messages that are still held point to.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	close(e.changed)
	present := slices.Collect(maps.Keys(e.present))
	e.mu.Unlock()
	for _, m := range present { // without mu: whoever holds a link's mu may be waiting for it
		m.drop(fmt.Errorf("%w: the engine ends", ErrClosed))
	}
	err := e.listener.close()
	e.wg.Wait()
	e.cache.close()
	return errors.Join(err, e.directory.close())
}

// accept admits companions until the listener is closed.
func (e *Engine) accept() {
	for {
		c, p, err := e.listener.accept()
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			e.log.Warn("a companion could not be let in", "error", err)
			if !errors.Is(err, errStranger) {
				time.Sleep(10 * time.Millisecond) // out of descriptors: give somebody time to leave
			}
			continue
		}
		m := &member{e: e, conn: c, peer: p, since: time.Now(), unmapped: map[uint32]*shm.Segment{}, leaving: map[uint32]int64{}}
		if !e.greet(m) {
			_ = m.conn.close()
			_ = m.peer.release()
			continue
		}
		e.wg.Go(m.run)
	}
}

// greet makes m known to Close.
func (e *Engine) greet(m *member) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.present[m] = true
	}
	return !e.closed
}

// enter makes m the holder of name, waiting while there is no room. A name that is
// taken is waited for a moment only: its holder may just be dying.
func (e *Engine) enter(m *member, name string, need int64) error {
	var patience <-chan time.Time
	for {
		e.mu.Lock()
		other := e.members[name]
		switch {
		case e.closed:
			e.mu.Unlock()
			return fmt.Errorf("%w: the engine ends", ErrClosed)
		case other == nil && len(e.members) < e.opts.Companions && e.used+need <= e.opts.Budget:
			index, ok := e.directory.reserve()
			if ok {
				m.name, m.index, m.bytes = name, index, need
				e.members[name], e.used = m, e.used+need
				e.mu.Unlock()
				return nil
			}
		}
		changed, short := e.changed, e.used+need > e.opts.Budget
		if m.ahead == nil {
			e.ledger.waiting++
			defer e.waited()
		}
		e.mu.Unlock()
		if other != nil && patience == nil {
			t := time.NewTimer(nameTimeout)
			defer t.Stop()
			patience = t.C
		}
		if m.ahead == nil {
			if err := m.conn.write(frameWaiting, nil); err != nil {
				return err
			}
			m.readAhead()
			if short {
				e.trim()
			}
		}
		select {
		case <-changed:
		case <-m.lost():
			return fmt.Errorf("%w: it went while it waited", ErrPeer)
		case got := <-m.ahead:
			if got.err != nil {
				return fmt.Errorf("%w: it hung up while it waited: %w", ErrPeer, got.err)
			}
			return fmt.Errorf("%w: control frame %d of one that waits", ErrProtocol, got.kind)
		case <-patience:
			if other != nil {
				return &refusedError{refuseName, fmt.Sprintf("the name %q is taken by process %d", name, other.peer.pid)}
			}
		}
	}
}

func (e *Engine) waited() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ledger.waiting--
}

const nameTimeout = 2 * time.Second

// left is what nobody has of the budget, in bytes.
func (e *Engine) left() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.opts.Budget - e.used
}

// leave undoes enter.
func (e *Engine) leave(m *member, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.present, m)
	e.note(m, why)
	if e.members[m.name] != m {
		return
	}
	delete(e.members, m.name)
	e.watchers.remove(m)
	e.used -= m.bytes - m.unmade
	e.directory.free(m.index)
	e.roomMayBeFree()
}

// charge takes n more bytes of the budget for m.
func (e *Engine) charge(m *member, n int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.members[m.name] != m || e.used+n > e.opts.Budget || m.bytes+n > e.opts.Share {
		return false
	}
	e.used += n
	m.bytes += n
	m.unmade += n
	e.directory.resize(m.index, m.bytes)
	return true
}

// chargeSoon is charge; when the budget is spent it asks everybody for what they
// don't use and waits a moment for it.
func (e *Engine) chargeSoon(m *member, n int64) bool {
	if n > min(e.opts.Budget, e.opts.Share) {
		return false
	}
	patience := time.NewTimer(trimTime)
	defer patience.Stop()
	for first := true; !e.charge(m, n); first = false {
		e.mu.Lock()
		changed := e.changed
		e.mu.Unlock()
		if first {
			e.trim()
		}
		select {
		case <-changed:
		case <-m.link.done:
			return false
		case <-patience.C:
			return e.charge(m, n)
		}
	}
	return true
}

// trimTime is how long the others have to give back what they don't use.
const trimTime = 500 * time.Millisecond

// trim makes everybody give back the extents that are empty.
func (e *Engine) trim() {
	e.mu.Lock()
	var all []*member
	for _, m := range e.members {
		if m.registered() {
			all = append(all, m)
		}
	}
	e.mu.Unlock()
	for _, m := range all {
		m.link.trim()
		m.conn.hint(frameTrim)
	}
}

// made ends what charge began: the extent is there, or it could not be made. Until
// then its memory is on the account even when the companion has left: committing a
// large one takes a while, and who leaves and comes back must not take it twice.
func (e *Engine) made(m *member, n int64, well bool) {
	e.mu.Lock()
	m.unmade -= n
	left := e.members[m.name] != m
	if left {
		e.used -= n
		e.roomMayBeFree()
	}
	e.mu.Unlock()
	if !left && !well {
		e.refund(m, n)
	}
}

// roomMayBeFree wakes who waits for room. The caller holds mu.
func (e *Engine) roomMayBeFree() {
	if !e.closed {
		close(e.changed)
		e.changed = make(chan struct{})
	}
}

// refund is the opposite of charge, once the extent was made.
func (e *Engine) refund(m *member, n int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.members[m.name] != m {
		return // leave has given back everything
	}
	e.used -= n
	m.bytes -= n
	e.directory.resize(m.index, m.bytes)
	e.roomMayBeFree()
}

// swap gives back an extent of n bytes except for what a smaller one is made from, in
// one go: nobody else can be faster. False when m is gone, and with it everything.
func (e *Engine) swap(m *member, n, smaller int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.members[m.name] != m {
		return false
	}
	e.used -= n - smaller
	m.bytes -= n - smaller
	m.unmade += smaller
	e.directory.resize(m.index, m.bytes)
	e.roomMayBeFree()
	return true
}

// refusedError is a refusal with its code for the frame.
type refusedError struct {
	code uint16
	text string
}

func (r *refusedError) Error() string { return r.text }
func (r *refusedError) Unwrap() error { return ErrRefused }
