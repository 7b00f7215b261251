package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Handler serves one session in a goroutine of its own; the session is closed when
// it returns. ctx ends then, and as soon as the other side is gone without having closed:
// the companion at the other end of the lane, or the one behind the engine. What that had
// sent before can still be received. That the other side closes doesn't end ctx.
//
// A handler runs under Session.Guard: should memory of the lane vanish under
// Message.Bytes or Parcel.Bytes, the handler ends there, its deferred calls run, and
// the link ends with ErrFault. A message that no deferred call releases keeps its
// segment mapped. It does not hold for goroutines that the handler starts.
type Handler func(ctx context.Context, s *Session)

// openWanted is the condition that an opened session was answered.
type openWanted Session

func (w *openWanted) ready() bool { return w.accepted || w.closed || w.ended != nil }

// openSession opens a session on l and waits for the answer.
func (l *link) openSession(ctx context.Context, o opening, peer, service string) (*Session, error) {
	if len(o.header) > maxHeader {
		return nil, fmt.Errorf("%w: a header of %d bytes, at most %d", ErrTooLarge, len(o.header), maxHeader)
	}
	body := o.encode()
	p, err := l.alloc(ctx, len(body))
	if err != nil {
		return nil, err
	}
	if err := p.fill(body); err != nil {
		p.Release()
		return nil, err
	}
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		p.Release()
		return nil, l.err
	}
	s := l.newSession(l.nextID)
	l.nextID += 2
	s.peer, s.service, s.header = peer, service, o.header
	s.joining = o.relayed
	r := newRecord(kindOpen, trustFlag(o.trusted), s.id, uint32(l.window))
	// The number must not be overtaken by a later one: published before mu is free.
	l.sealLocked(p, &r, 0)
	l.post(&r)
	l.mu.Unlock()
	if err := s.answered(ctx); err != nil {
		_ = s.close(closing{closeCanceled, "it gave up opening"})
		return nil, err
	}
	return s, nil
}

func (s *Session) answered(ctx context.Context) error {
	if err := s.l.await(ctx, (*openWanted)(s), s.sendable); err != nil {
		return err
	}
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.accepted {
		return nil
	}
	err := s.over()
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("session with %s/%s: %w: closed unanswered", s.peer, s.service, ErrRefused)
	}
	return err
}

// run serves s with h in the goroutine that calls it.
func run(h Handler, s *Session) {
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithCancelCause(s.l.ctx)
	defer cancel(nil)
	s.l.mu.Lock()
	s.cancel = cancel
	s.orphan() // it may have been faster
	s.l.mu.Unlock()
	_ = s.Guard(func() { h(ctx, s) }) // the link says why it ended
}
