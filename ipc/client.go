package ipc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"berth/internal/shm"
)

// Client is a registered companion. All methods are safe for concurrent use.
type Client struct {
	name   string
	link   *link
	roster *roster
	once   sync.Once
	served chan struct{}

	mu        sync.Mutex
	handlers  map[string]Handler
	trusting  map[string]bool
	accepting bool
}

// DialOption changes how a companion registers.
type DialOption func(*hello)

// Sizes asks for halves of the given sizes in bytes at the start, 0 for what the engine
// gives by default. It may give less (16 MiB at most, and as Options.Outgoing says), and
// gives more later.
func Sizes(outgoing, incoming int) DialOption {
	return func(h *hello) { h.outgoing, h.incoming = uint64(max(0, outgoing)), uint64(max(0, incoming)) }
}

// NoSpin is Options.NoSpin for this companion.
func NoSpin() DialOption { return func(h *hello) { h.noSpin = true } }

// Dial registers this process under name with the engine at endpoint. It waits
// while the engine has no room, until ctx ends, and wraps context.Cause then.
//
// ErrPeer: no engine listens there, or it went before it had answered. The endpoint may
// be an old one: take it from the port record again. ErrName: the name is taken; another
// one will do. ErrRefused, which ErrName wraps: another user's engine, or one that can't
// take this companion; its words are in the error. ErrVersion: built with another layout.
// ErrAddress: the name can't be a companion's, or, on Windows, the endpoint no engine's.
// ErrProtocol: what listens there is no engine. All else is the system's own error.
func Dial(ctx context.Context, endpoint, name string, opts ...DialOption) (*Client, error) {
	h := hello{version: Version, pid: uint32(os.Getpid()), name: name}
	for _, o := range opts {
		o(&h)
	}
	if err := companionName(name); err != nil {
		return nil, err
	}
	conn, pid, err := dialConn(ctx, endpoint)
	if err != nil && ctx.Err() != nil {
		err = hungUp(context.Cause(ctx), err)
	}
	if err != nil {
		return nil, fmt.Errorf("dial the engine at %s: %w", endpoint, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.close() })
	c, err := enroll(conn, pid, h)
	if !stop() && ctx.Err() != nil {
		err = hungUp(context.Cause(ctx), err)
	}
	if err != nil {
		_ = conn.close()
		if c != nil {
			c.discard(err)
		}
		return nil, fmt.Errorf("register %q with the engine: %w", name, err)
	}
	go func() {
		defer close(c.served)
		c.link.serve(c.frame)
	}()
	return c, nil
}

// hungUp is what came of a registration that this side has ended for cause: the end of
// the stream was its own doing then, and says nothing of the engine.
func hungUp(cause, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrPeer):
		return cause
	case errors.Is(err, cause):
		return err
	}
	return errors.Join(cause, err)
}

// discard takes a half-made client down.
func (c *Client) discard(err error) {
	c.link.lastWords()
	c.link.fail(err)
	c.link.takeDown()
}

// enroll is the companion's side of the rendezvous. When it fails after the link
// was made, it answers both.
func enroll(conn conn, pid int, h hello) (*Client, error) {
	if err := conn.write(frameHello, h.encode()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPeer, err)
	}
	var c *Client
	for {
		f, err := conn.read()
		if err != nil {
			return c, fmt.Errorf("%w: %w", ErrPeer, err)
		}
		switch {
		case f.kind == frameWaiting:
		case f.kind == frameDoorbell && c != nil: // somebody was faster; serve looks at the ring
		case f.kind == frameRefused:
			return c, refusedBy(f.body)
		case f.kind == frameRegistered && c != nil:
			return c, nil
		case f.kind == frameWelcome && c == nil:
			if c, err = newClient(conn, pid, h, f); err != nil {
				return c, err
			}
		case c != nil:
			if err := c.frame(f); err != nil {
				return c, err
			}
		default:
			closeHandles(f.handles)
			return c, fmt.Errorf("%w: frame %d during registration", ErrProtocol, f.kind)
		}
	}
}

func refusedBy(body []byte) error {
	r, err := decodeRefusal(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if r.code == refuseVersion {
		return otherVersion(uint32(r.version))
	}
	kind := ErrRefused
	if r.code == refuseName {
		kind = ErrName
	}
	return fmt.Errorf("%w: %s", kind, clip(r.text, 512))
}

// newClient maps what came with a welcome. When the engine can't be told of it, it
// answers both.
func newClient(conn conn, pid int, h hello, f frame) (*Client, error) {
	w, err := decodeWelcome(f.body)
	if err == nil && len(f.handles) < 2 {
		err = fmt.Errorf("%w: a welcome with %d handles", ErrProtocol, len(f.handles))
	}
	if err != nil {
		closeHandles(f.handles)
		return nil, err
	}
	dir, err1 := shm.OpenSegment(f.handles[0], int(w.directory), shm.ReadOnly)
	lane, err2 := shm.OpenSegment(f.handles[1], int(w.lane), shm.ReadWrite)
	err = errors.Join(err1, err2)
	if err == nil {
		err = errors.Join(
			guarded(dir.Bytes(), "the engine's directory", func() error { return checkDirectory(dir.Bytes()) }),
			guarded(lane.Bytes(), "the lane", func() error { return checkLane(lane.Bytes()) }))
	}
	if err != nil {
		closeSegments(dir, lane)
		closeHandles(f.handles[2:])
		return nil, err
	}
	c := &Client{name: h.name, handlers: map[string]Handler{}, trusting: map[string]bool{}, served: make(chan struct{})}
	roster := newRoster(dir, func(seen uint32) { _ = c.link.tell(frameWatch, le.AppendUint32(nil, seen)) })
	c.roster = roster
	c.link, err = newLink(linkConfig{
		peer: "the engine", pid: pid, companion: true, slots: w.slots, unit: int(w.unit), window: int(w.window),
		largest: int(w.largest), whole: int(w.whole), lane: lane, events: eventsFrom(f.handles[2:]), noSpin: h.noSpin, conn: &attentiveConn{conn, roster.heard}, host: c,
	})
	if err != nil {
		closeSegments(dir, lane)
		return nil, err
	}
	roster.lost = c.link.breach
	if c.link.tell(frameMapped, le.AppendUint32(nil, 0)) != nil {
		return c, c.link.cause()
	}
	return c, nil
}

// otherVersion is the refusal of an engine that was built with another layout.
func otherVersion(engine uint32) error {
	return fmt.Errorf("%w: this program speaks version %d, the engine version %d; update the older one", ErrVersion, Version, engine)
}

func closeSegments(all ...*shm.Segment) {
	for _, s := range all {
		if s != nil {
			_ = s.Close()
		}
	}
}

// Name is what this companion is registered as.
func (c *Client) Name() string { return c.name }

// Done is closed when the engine is gone or the client was closed; Err says why.
func (c *Client) Done() <-chan struct{} { return c.link.done }

// Err is why the client is done, or nil.
func (c *Client) Err() error { return c.link.cause() }

// Close leaves the engine. What was sent in sessions that this side has closed is still
// delivered; the others end with ErrPeer over there, and what nobody has received of them
// is lost. Parcels and messages that are held stay readable until they are released.
//
// It waits up to a second for an engine that is behind: the ring may be so full that the
// end of a session has not gone out yet.
func (c *Client) Close() error {
	c.once.Do(func() {
		c.link.sayAll()
		c.link.fail(fmt.Errorf("%w: by this program", ErrClosed))
		<-c.served
	})
	return nil
}

// Open opens a session to a service: "controller/service" is the engine's host,
// "name/service" another companion. The header (at most 64 KiB) is for the service.
// It waits for the answer until ctx ends. ErrAddress: no such companion or service, or not
// yet: it may be about to call Handle; ErrRefused: too many sessions, closed unanswered, or
// another companion has not answered for 30 seconds; ErrTooLarge: the header; ErrNoMemory:
// there is none for it; ErrPeer: the engine is gone, or the other companion.
func (c *Client) Open(ctx context.Context, address string, header []byte) (*Session, error) {
	name, service, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	return c.link.openSession(ctx, opening{address: address, from: "", header: header}, name, service)
}

// OpenTrusted is Open towards a part of the same program, which must agree by
// HandleTrusted; otherwise it is Open.
func (c *Client) OpenTrusted(ctx context.Context, address string, header []byte) (*Session, error) {
	name, service, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	return c.link.openSession(ctx, opening{address: address, header: header, trusted: true}, name, service)
}

// Alloc waits for a parcel of n bytes in the own block until ctx ends. It can be sent
// in any session of this client; Session.Alloc knows besides who will read it, and is
// the better choice for large ones.
func (c *Client) Alloc(ctx context.Context, n int) (*Parcel, error) { return c.link.alloc(ctx, n) }

// TryAlloc is Alloc without waiting: ErrNoMemory when nothing is free now.
func (c *Client) TryAlloc(n int) (*Parcel, error) { return c.link.tryAlloc(n) }

// Handle serves the sessions that others open to this companion's service, each in a
// goroutine of its own. It replaces an earlier handler of that service, and panics for a
// name that no address can bear. Others see this companion as soon as Dial has returned:
// who opens a session before Handle was called gets ErrAddress.
func (c *Client) Handle(service string, h Handler) {
	mustBeService(service)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers[service] = h
	c.trusting[service] = false
}

// HandleTrusted is Handle for a service whose callers are parts of the same program:
// who opens it by OpenTrusted gets large parcels across in a time that does not
// depend on their size, and could go on writing to them.
func (c *Client) HandleTrusted(service string, h Handler) {
	mustBeService(service)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers[service] = h
	c.trusting[service] = true
}

// frame handles a control frame that isn't the link's own business.
func (c *Client) frame(f frame) error {
	switch {
	case f.kind == frameExtent && len(f.handles) == 1:
		return c.extent(f)
	case len(f.handles) > 0:
		closeHandles(f.handles)
		return fmt.Errorf("control frame %d with handles", f.kind)
	case f.kind == frameDenied:
		c.link.denied()
		return nil
	case f.kind == frameForget:
		return c.forget(f.body)
	case f.kind == frameTrim:
		c.link.trim()
		return nil
	}
	return fmt.Errorf("control frame %d", f.kind)
}

// extent maps a new extent of either half.
func (c *Client) extent(f frame) error {
	e, err := decodeExtent(f.body)
	if err != nil {
		closeHandles(f.handles)
		return err
	}
	access := shm.ReadWrite
	if e.half != outgoing {
		access = shm.ReadOnly
	}
	seg, err := shm.OpenSegment(f.handles[0], int(e.size), access)
	if err != nil {
		return err
	}
	if e.half != outgoing {
		theirs := newForeign(e.segment, seg)
		theirs.passed = e.half == passed
		if !theirs.passed {
			theirs.dropped = func() { go c.forgotten(e.segment) }
		}
		if err := c.link.hold(theirs); err != nil || theirs.passed { // its message says all there is to say of that
			return err
		}
	}
	if c.link.tell(frameMapped, le.AppendUint32(nil, e.segment)) != nil {
		if e.half == outgoing { // nobody else knows of it
			_ = seg.Close()
		}
		return c.link.cause()
	}
	if e.half == outgoing {
		c.link.grown(e.segment, seg)
	}
	return nil
}

// forget unmaps an incoming extent that the engine uses no more.
func (c *Client) forget(body []byte) error {
	number, err := decodeUint32(body)
	if err != nil {
		return err
	}
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	f := c.link.theirs[number]
	if f == nil || f.forgotten {
		return fmt.Errorf("forget segment %d, which is not mapped", number)
	}
	f.forgotten = true
	c.link.dropForeign(f)
	return nil
}

// forgotten tells the engine that an incoming extent is unmapped here.
func (c *Client) forgotten(number uint32) {
	_ = c.link.tell(frameForget, le.AppendUint32(nil, number))
}

// open serves or refuses a session that somebody opens to this companion. The
// caller holds the link's mu.
func (c *Client) open(s *Session, o opening) *closing {
	_, service, err := splitAddress(o.address)
	if err != nil {
		return &closing{closeAddress, "not an address"}
	}
	s.service = service
	c.mu.Lock()
	defer c.mu.Unlock()
	s.trusted = s.trusted && c.trusting[service]
	if h := c.handlers[service]; h != nil {
		go run(h, s)
		return nil
	}
	if c.accepting && c.link.offered.len() < maxOffered {
		c.link.offered.push(s)
		c.link.notifyOne(c.link.offer)
		return nil
	}
	return &closing{closeAddress, "this companion has no such service"}
}

const maxOffered = 64

// Accept waits for a session that no handler serves, until ctx ends. Before its first
// call such sessions are refused; from then on up to 64 wait for it. The caller closes
// the session.
func (c *Client) Accept(ctx context.Context) (*Session, error) {
	c.mu.Lock()
	c.accepting = true
	c.mu.Unlock()
	l := c.link
	for {
		if err := l.await(ctx, (*offerWanted)(l), l.offer); err != nil {
			return nil, err
		}
		l.mu.Lock()
		if l.offered.len() > 0 {
			s := l.offered.pop()
			if l.offered.len() > 0 {
				l.notifyOne(l.offer)
			}
			l.mu.Unlock()
			return s, nil
		}
		l.mu.Unlock()
	}
}

// offerWanted is the condition that somebody has opened a session.
type offerWanted link

func (w *offerWanted) ready() bool { return w.offered.len() > 0 }

// grow asks the engine for another extent. The caller holds the link's mu, so the
// frame is written elsewhere.
func (c *Client) grow(l *link, n int) {
	go func() {
		if err := l.tell(frameWant, le.AppendUint64(nil, uint64(n))); err != nil {
			l.denied()
		}
	}()
}

func (c *Client) dead(*link, error) { c.roster.close() }
