package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
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
// which request uses Call. One stream at a time in each direction: the pieces of two would
// be mixed, and a Reader takes whatever message comes for a piece.
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
	cancel   context.CancelCauseFunc // of the ctx of its handler, if it has one
	credit   int                     // messages that may still be sent
	limit    int                     // credit with nothing under way: the peer's window
	taken    int                     // inline messages released and not yet credited
	pending  int                     // messages of the peer that it has no credit back for
	accepted bool                    // the peer said opened
	noticed  bool                    // a notice of missing memory is in the queue
	told     bool                    // the other side has had such a notice since the last message to it
	closed   bool                    // by this side
	ended    *closing
	cut      bool // ended by the end of its link, whose error says why
	calls    []*call
	readers  []*Reader // that may hold a message
	parked   []record  // in a companion: what came behind a segment that is yet to come
	lastCall uint32

	// In the engine, between two companions.
	out     *flow // where its messages go, instead of to Recv
	wakes   *flow // what a credit for it may set going
	joining bool  // it will be joined to one with another companion: what comes meanwhile waits
	hungry  bool  // wakes waits for memory on this lane
	barren  bool  // there will never be enough of it
}

func (l *link) newSession(id uint32) *Session {
	s := &Session{l: l, id: id, recv: make(chan struct{}, 1), sendable: make(chan struct{}, 1)}
	l.sessions[id] = s
	if !l.ours(id) {
		l.guests++
	}
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
// the other side's Recv answers ErrStarved then, as it does when ctx's deadline passes.
func (s *Session) Alloc(ctx context.Context, n int) (*Parcel, error) {
	p, err := s.l.allocFor(ctx, n, s.relayed())
	if err != nil && (errors.Is(err, ErrNoMemory) || timedOut(ctx, err)) {
		s.starved(n)
	}
	return p, err
}

// timedOut says whether err is that the deadline of ctx has passed, whatever its cause
// is called.
func timedOut(ctx context.Context, err error) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.Cause(ctx))
}

// TryAlloc is Alloc without waiting: ErrNoMemory when nothing is free. The other
// side is told, and its Recv answers ErrStarved once.
func (s *Session) TryAlloc(n int) (*Parcel, error) {
	p, err := s.l.tryAllocFor(n, s.relayed())
	if errors.Is(err, ErrNoMemory) {
		s.starved(n)
	}
	return p, err
}

// starved tells the other side, once for each message that goes out: notices take no
// credit, and who polls would fill the ring of one that does not read.
func (s *Session) starved(n int) {
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.told || l.err != nil {
		return
	}
	s.told = true
	r := newRecord(kindStarved, 0, s.id, 0)
	r.setLocation(location{length: uint64(n)})
	l.post(&r)
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
	if s.cut {
		return fmt.Errorf("session with %s/%s: %w", s.peer, s.service, s.l.err)
	}
	kind := ErrPeer
	switch c.code {
	case closeDone:
		return io.EOF
	case closeAddress:
		kind = ErrAddress
	case closeRefused, closeQuota:
		kind = ErrRefused
	case closeMemory: // ErrPeer besides: what Alloc says of a wish that was denied is no end
		return fmt.Errorf("session with %s/%s: %w: %w: %s", s.peer, s.service, ErrPeer, ErrNoMemory, c.reason)
	}
	reason := strings.TrimPrefix(c.reason, kind.Error()) // which other programs may have said already
	if reason = strings.TrimPrefix(reason, ": "); reason == "" {
		return fmt.Errorf("session with %s/%s: %w", s.peer, s.service, kind)
	}
	return fmt.Errorf("session with %s/%s: %w: %s", s.peer, s.service, kind, reason)
}

// recvWanted is the condition that a session has something to say.
type recvWanted Session

func (w *recvWanted) ready() bool { return w.queue.len() > 0 || w.closed || w.ended != nil }

// Recv waits for the next message that is not the reply to a Call. It answers
// io.EOF when the other side has closed and all it sent was received, ErrPeer when
// that is gone, ErrNoMemory when a message is lost on its way to another companion, for
// want of memory. All these are ends, and come again. Only ErrStarved isn't: it comes
// once for each time that the other side had no memory for its next message, and the
// session goes on. The message must be released; Close doesn't do that but for a Reader.
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

// message is Recv for who has no use for a notice.
func (s *Session) message(ctx context.Context) (*Message, error) {
	for {
		if m, err := s.Recv(ctx); !errors.Is(err, ErrStarved) {
			return m, err
		}
	}
}

// next takes what waits; nil, nil when nothing does. The caller holds mu.
func (s *Session) next() (*Message, error) {
	if s.closed {
		s.l.notifyOne(s.recv) // one is told of an end, and passes it on
		return nil, s.over()
	}
	if s.queue.len() > 0 {
		m := s.queue.pop()
		if s.queue.len() > 0 || s.ended != nil {
			s.l.notifyOne(s.recv)
		}
		if m.flags&flagStarved != 0 {
			n := m.loc.length
			s.noticed = false
			s.l.discard(m)
			return nil, fmt.Errorf("%w: %s has no %d bytes for its next message", ErrStarved, s.peer, n)
		}
		if s.queue.len() > 0 {
			m.next = s.queue.first().data
			fetchPart(m.next, 0)
		}
		return m, nil
	}
	if s.ended != nil {
		s.l.notifyOne(s.recv)
		return nil, s.ended.err(s)
	}
	if s.pending >= s.l.window {
		s.creditTaken() // all that the peer may send is here, and more is wanted
	}
	return nil, nil
}

// flagStarved marks, in the queue only, the notice that the peer has no memory.
const flagStarved = 1 << 7

// Close ends the session; what was sent before is still delivered. Its Readers end with
// it, and what they have not read is given back. Close again does nothing.
func (s *Session) Close() error { return s.close(closing{code: closeDone}) }

// Fail ends the session with a reason, cut to the 112 bytes of a record, that the
// other side's calls answer together with ErrRefused.
func (s *Session) Fail(reason string) error { return s.close(closing{closeRefused, reason}) }

// forget takes a session that both sides have closed off the list.
func (l *link) forget(s *Session) {
	if l.sessions[s.id] != s {
		return
	}
	delete(l.sessions, s.id)
	if s.out != nil {
		l.relayed.Add(-1)
	}
	if !l.ours(s.id) {
		l.guests--
	}
}

// ours says whether the session of that number was opened by this side.
func (l *link) ours(id uint32) bool { return id&1 == l.nextID&1 }

func (s *Session) close(why closing) error {
	for _, r := range s.shut(why) { // without mu, for who reads now has to come to an end
		r.stop(fmt.Errorf("session with %s/%s: %w", s.peer, s.service, ErrClosed))
	}
	return nil
}

// shut is close but for the readers, which it answers.
func (s *Session) shut(why closing) []*Reader {
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	readers := s.readers
	s.readers = nil
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
	return readers
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
	s.orphan()
	s.wakeAll()
}

// orphan ends the ctx of the handler when the other side is gone without having closed.
// The caller holds mu.
func (s *Session) orphan() {
	if s.cancel != nil && s.ended != nil && s.ended.code == closePeer {
		s.cancel(s.ended.err(s))
	}
}

// wakeAll tells everybody that s is over on one side. The caller holds mu.
func (s *Session) wakeAll() {
	s.l.stir(s.out)
	s.l.stir(s.wakes)
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
		l.reuse(m)
		return
	}
	l.release(m)
}
