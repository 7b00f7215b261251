package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Codes of close.
const (
	closeDone = iota
	closeAddress
	closeRefused
	closePeer
	closeQuota
	closeCanceled
	closeMemory
)

// Session is one conversation between two ends: messages in both directions, in
// order, with at most a window of them unread. Many sessions share a lane. Any
// number of goroutines may use one; who wants to know which reply belongs to
// which request uses Call.
type Session struct {
	l       *link
	id      uint32
	peer    string
	service string
	header  []byte

	trusted bool // both companions take the other for a part of the same program

	recv, sendable chan struct{} // told when queue or credit change

	// Guarded by l.mu.
	queue    fifo[*Message]
	credit   int  // messages that may still be sent
	limit    int  // credit with nothing under way: the peer's window
	taken    int  // inline messages released and not yet credited
	pending  int  // messages of the peer that it has no credit back for
	accepted bool // the peer said opened
	noticed  bool // a notice of missing memory is in the queue
	closed   bool // by this side
	ended    *closing
	calls    []*call
	lastCall uint32

	// In the engine, between two companions.
	out     *flow // where its messages go, instead of to Recv
	wakes   *flow // what a credit for it may set going
	joining bool  // it will be joined to one with another companion: what comes meanwhile waits
	hungry  bool  // wakes waits for memory on this lane
	barren  bool  // there will never be enough of it
}

// call waits for one reply.
type call struct {
	s           *Session
	correlation uint32
	reply       *Message
	ch          chan struct{}
}

func (c *call) ready() bool { return c.reply != nil || c.s.closed || c.s.ended != nil }

// fifo is a queue that reuses its memory.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }
func (f *fifo[T]) push(v T) { f.items = append(f.items, v) }

func (f *fifo[T]) pop() T {
	var zero T
	v := f.items[f.head]
	f.items[f.head] = zero
	if f.head++; f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	} else if f.head >= 64 && f.head*2 > len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	return v
}

func (l *link) newSession(id uint32) *Session {
	s := &Session{l: l, id: id, recv: make(chan struct{}, 1), sendable: make(chan struct{}, 1)}
	l.sessions[id] = s
	return s
}

// Peer is the registered name of the other side; "controller" is the engine's host.
func (s *Session) Peer() string { return s.peer }

// Service is what was addressed.
func (s *Session) Service() string { return s.service }

// Header is what the opener said beside the address.
func (s *Session) Header() []byte { return s.header }

// PID is the process at the other end of the lane: the companion's in the engine,
// the engine's in a companion.
func (s *Session) PID() int { return s.l.pid }

// Done is closed when the lane is gone, with it every session on it.
func (s *Session) Done() <-chan struct{} { return s.l.done }

// Alloc waits for a parcel of n bytes that this session's other side will be able
// to read in place, until ctx ends; the caller must send or release it. ErrTooLarge:
// no block can hold it, use a Writer. ErrNoMemory: the engine has no more to give;
// the other side's Recv answers that too, as it does when ctx's deadline passes.
func (s *Session) Alloc(ctx context.Context, n int) (*Parcel, error) {
	p, err := s.l.allocFor(ctx, n, s.relayed())
	if err != nil && (errors.Is(err, ErrNoMemory) || errors.Is(err, context.DeadlineExceeded)) {
		s.starved(n)
	}
	return p, err
}

// TryAlloc is Alloc without waiting: ErrNoMemory when nothing is free. The other
// side is told, and its Recv answers ErrNoMemory once.
func (s *Session) TryAlloc(n int) (*Parcel, error) {
	p, err := s.l.tryAlloc(n)
	if errors.Is(err, ErrNoMemory) {
		s.starved(n)
	}
	return p, err
}

func (s *Session) starved(n int) {
	r := newRecord(kindStarved, 0, s.id, 0)
	r.setLocation(location{length: uint64(n)})
	s.l.post(&r)
}

// Send hands p over: from now on it belongs to the other side, whatever Send
// answers. It waits while the window is full, until ctx ends. io.EOF: the other side
// has closed. ErrPeer: it is gone. ErrClosed: this side has closed.
func (s *Session) Send(ctx context.Context, p *Parcel) error { return s.send(ctx, p, 0, 0) }

// SendBytes copies b into a parcel and sends it.
func (s *Session) SendBytes(ctx context.Context, b []byte) error {
	p, err := s.copied(ctx, b)
	if err != nil {
		return err
	}
	return s.Send(ctx, p)
}

func (s *Session) copied(ctx context.Context, b []byte) (*Parcel, error) {
	p, err := s.Alloc(ctx, len(b))
	if err != nil {
		return nil, err
	}
	if err = p.fill(b); err != nil {
		p.Release()
		return nil, err
	}
	return p, nil
}

// send takes a credit and publishes p with the given flags.
func (s *Session) send(ctx context.Context, p *Parcel, flags uint8, correlation uint32) error {
	if p.l != s.l {
		return fmt.Errorf("%w: a parcel of another connection", ErrAddress)
	}
	if err := s.takeCredit(ctx); err != nil {
		p.Release()
		return err
	}
	if p.whole && s.relayed() {
		s.l.mu.Unlock()
		return s.sendWhole(ctx, p, flags, correlation)
	}
	r := newRecord(kindMessage, flags, s.id, correlation)
	s.l.sealLocked(p, &r, s.id)
	s.l.mu.Unlock()
	return s.l.publish(ctx, s, &r)
}

// publish sends a sealed message, or takes it back.
func (l *link) publish(ctx context.Context, s *Session, r *record) error {
	err := l.send(ctx, r)
	if err != nil {
		l.unsend(s, r)
	}
	return err
}

// unsend takes back what could not be published.
func (l *link) unsend(s *Session, r *record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.credit++
	if r.flags()&flagInline != 0 {
		return
	}
	loc := r.location()
	if e, _, err := l.mem.give(loc); err == nil {
		l.dropExtent(e)
		l.emptied(e)
		l.fed()
	}
}

// sealLocked writes what p holds into r and lets go of p. The caller holds mu.
func (l *link) sealLocked(p *Parcel, r *record, session uint32) {
	e := p.ext
	if e == nil {
		r.setInline(p.data)
		l.recycle(p)
		return
	}
	b := &e.block[p.at]
	b.state, b.session = blockSent, session
	e.held--
	e.sent++
	r.setLocation(location{e.number, b.generation, uint64(p.at) * uint64(l.unit), uint64(len(p.data))})
	l.dropExtent(e)
	l.recycle(p)
	if b.units == 1 && l.err == nil {
		e.claimNext(l.unit)
	}
}

// sendWanted is the condition that a session may send.
type sendWanted Session

func (w *sendWanted) ready() bool { return w.credit > 0 || w.closed || w.ended != nil }

// takeCredit waits for a credit and takes it. Without an error the caller holds mu
// afterwards.
func (s *Session) takeCredit(ctx context.Context) error {
	l := s.l
	for {
		l.mu.Lock()
		err := s.over()
		if err == nil && s.credit > 0 {
			s.credit--
			if s.credit > 0 {
				l.notifyOne(s.sendable)
			}
			return nil
		}
		l.mu.Unlock()
		if err != nil {
			return err
		}
		if err := l.await(ctx, (*sendWanted)(s), s.sendable); err != nil {
			return err
		}
	}
}

// notifyOne passes a wake-up on to the next one who waits on ch. The leader is told
// of nothing that it does itself: it looks again after each batch. The caller holds mu.
func (l *link) notifyOne(ch chan struct{}) {
	others := l.waiters.Load()
	if l.dispatching {
		others -= l.self
	}
	if others > 0 {
		l.notify(ch)
	}
}

// over is why nothing more can be sent, or nil. The caller holds mu.
func (s *Session) over() error {
	switch {
	case s.closed:
		return fmt.Errorf("session with %s/%s: %w", s.peer, s.service, ErrClosed)
	case s.ended != nil:
		return s.ended.err(s)
	}
	return s.l.err
}

// err makes the end of s an error. The caller holds mu.
func (c *closing) err(s *Session) error {
	kind := ErrPeer
	if c.code == closePeer && errors.Is(s.l.err, ErrFault) {
		return fmt.Errorf("session with %s/%s: %w", s.peer, s.service, s.l.err)
	}
	switch c.code {
	case closeDone:
		return io.EOF
	case closeAddress:
		kind = ErrAddress
	case closeRefused, closeQuota:
		kind = ErrRefused
	case closeCanceled:
		kind = context.Canceled
	case closeMemory:
		kind = ErrNoMemory
	}
	return fmt.Errorf("session with %s/%s: %w: %s", s.peer, s.service, kind, c.reason)
}

// recvWanted is the condition that a session has something to say.
type recvWanted Session

func (w *recvWanted) ready() bool { return w.queue.len() > 0 || w.closed || w.ended != nil }

// Recv waits for the next message that is not the reply to a Call. It answers
// io.EOF when the other side has closed and all it sent was received, ErrPeer when
// that is gone, and ErrNoMemory once when it had no memory for its next message: the
// session goes on. The message must be released; Close doesn't do that.
func (s *Session) Recv(ctx context.Context) (*Message, error) {
	l := s.l
	for {
		l.mu.Lock()
		m, err := s.next()
		l.mu.Unlock()
		if m != nil || err != nil {
			return m, err
		}
		if err := l.await(ctx, (*recvWanted)(s), s.recv); err != nil {
			return nil, err
		}
	}
}

// next takes what waits; nil, nil when nothing does. The caller holds mu.
func (s *Session) next() (*Message, error) {
	if s.closed {
		return nil, s.over()
	}
	if s.queue.len() > 0 {
		m := s.queue.pop()
		if s.queue.len() > 0 {
			s.l.notifyOne(s.recv)
		}
		if m.flags&flagStarved != 0 {
			n := m.loc.length
			s.noticed = false
			s.l.discard(m)
			return nil, fmt.Errorf("%w: %s has no %d bytes for its next message", ErrNoMemory, s.peer, n)
		}
		return m, nil
	}
	if s.ended != nil {
		s.l.notifyOne(s.recv)
		return nil, s.ended.err(s)
	}
	return nil, nil
}

// flagStarved marks, in the queue only, the notice that the peer has no memory.
const flagStarved = 1 << 7

// Call sends p as a request and waits for its reply until ctx ends; a reply that
// comes later is dropped. ErrPeer: the session ended before it. The reply must be
// released.
func (s *Session) Call(ctx context.Context, p *Parcel) (*Message, error) {
	l := s.l
	l.mu.Lock()
	c := s.newCall()
	l.mu.Unlock()
	err := s.send(ctx, p, flagRequest, c.correlation)
	if err == nil {
		err = l.await(ctx, c, c.ch)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	m := s.endCall(c)
	if m != nil {
		return m, nil // also when it came while the wait for it ended
	}
	if err == nil {
		if err = s.over(); err == nil || errors.Is(err, io.EOF) {
			err = fmt.Errorf("session with %s/%s ended before the reply: %w", s.peer, s.service, ErrPeer)
		}
	}
	return nil, err
}

// newCall finds an unused call or makes one. The caller holds mu.
func (s *Session) newCall() *call {
	s.lastCall = max(1, s.lastCall+1)
	for _, c := range s.calls {
		if c.correlation == 0 {
			c.correlation = s.lastCall
			return c
		}
	}
	c := &call{s: s, correlation: s.lastCall, ch: make(chan struct{}, 1)}
	s.calls = append(s.calls, c)
	return c
}

func (s *Session) endCall(c *call) *Message {
	m := c.reply
	c.reply, c.correlation = nil, 0
	select {
	case <-c.ch:
	default:
	}
	return m
}

// Reply answers the request m with p. It doesn't release m.
func (s *Session) Reply(ctx context.Context, m *Message, p *Parcel) error {
	return s.send(ctx, p, flagReply, m.correlation)
}

// Close ends the session; what was sent before is still delivered. Close again
// does nothing.
func (s *Session) Close() error { return s.close(closing{code: closeDone}) }

// Fail ends the session with a reason, cut to the 112 bytes of a record, that the
// other side's calls answer together with ErrRefused.
func (s *Session) Fail(reason string) error { return s.close(closing{closeRefused, reason}) }

// forget takes a session that both sides have closed off the list.
func (l *link) forget(s *Session) {
	if s.out != nil && l.sessions[s.id] == s {
		l.relayed.Add(-1)
	}
	delete(l.sessions, s.id)
}

func (s *Session) close(why closing) error {
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.dropQueue()
	if l.err == nil {
		r := newRecord(kindClose, 0, s.id, why.code)
		r.setInline([]byte(clip(why.reason, maxInline)))
		l.post(&r)
	}
	if s.ended != nil {
		l.forget(s)
	}
	s.wakeAll()
	return nil
}

func (s *Session) dropQueue() {
	for s.queue.len() > 0 {
		s.l.discard(s.queue.pop())
	}
}

// end notes that the other side closed. The caller holds mu.
func (s *Session) end(why closing) {
	if s.ended == nil {
		s.ended = &why
	}
	if s.closed {
		s.l.forget(s)
	}
	s.wakeAll()
	s.l.stir(s.out)
	s.l.stir(s.wakes)
}

func (s *Session) wakeAll() {
	s.l.notify(s.recv)
	s.l.notify(s.sendable)
	for _, c := range s.calls {
		s.l.notify(c.ch)
	}
}

// discard releases a message that nobody will read. The caller holds mu.
func (l *link) discard(m *Message) {
	if m.flags&flagStarved != 0 {
		m.s, m.flags = nil, 0
		l.messages = append(l.messages, m)
		return
	}
	l.release(m)
}
