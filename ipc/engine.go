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
	reminded time.Time // when everybody was asked for memory for those who wait to enter
	dropped  []Drop
	ledger   ledger
	handlers map[string]Handler
}

// NewEngine starts an engine for the session: companions can dial its Endpoint
// when it returns. There can be one per session: a second one is
// an error where it would listen at the same place (Unix). ErrNoMemory: nobody fits in the
// budget.
func NewEngine(s session.Session, o Options) (*Engine, error) {
	o = o.withDefaults()
	if err := o.habitable(); err != nil {
		return nil, err
	}
	path, err := endpointIn(s)
	if err != nil {
		return nil, fmt.Errorf("where the engine listens: %w", err)
	}
	e := &Engine{
		opts: o, changed: make(chan struct{}),
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
// replaces an earlier handler of that service, and panics for a name that no address can
// bear, or that is the engine's own (".cache"). A companion may dial as soon as NewEngine
// has returned, and gets ErrAddress for what is not handled yet.
func (e *Engine) Handle(service string, h Handler) {
	mustBeService(service)
	if service == cacheService {
		panic("ipc: the service .cache is the engine's own")
	}
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
	m, err := e.companion(name)
	if err != nil {
		return nil, err
	}
	return m.link.openSession(ctx, opening{address: address, from: Controller, header: header}, name, service)
}

// companion is who is registered under name.
func (e *Engine) companion(name string) (*member, error) {
	e.mu.Lock()
	m, closed := e.members[name], e.closed
	e.mu.Unlock()
	switch {
	case closed:
		return nil, fmt.Errorf("%w: the engine", ErrClosed)
	case m != nil && m.registered():
		return m, nil
	}
	return nil, fmt.Errorf("%w: no companion %q is registered", ErrAddress, name)
}

// member is who has that name, registered or about to be; nil: nobody.
func (e *Engine) member(name string) *member {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.members[name]
}

// Close drops every companion, waits for the handlers of their sessions, and gives
// all memory back but what messages that are still held point to. A handler that calls
// it waits for itself, for ever: it has another goroutine do so.
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

// refusedError is a refusal with its code for the frame.
type refusedError struct {
	code uint16
	text string
}

func (r *refusedError) Error() string { return r.text }

func (r *refusedError) Unwrap() error { return ErrRefused }
