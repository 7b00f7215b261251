package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// call waits for one reply.
type call struct {
	s           *Session
	correlation uint32
	reply       *Message
	ch          chan struct{}
}

func (c *call) ready() bool { return c.reply != nil || c.s.closed || c.s.ended != nil }

// Call sends p as a request and waits for its reply until ctx ends; a reply that
// comes later is dropped. ErrPeer: the session ended before it, and ErrNoMemory besides
// when the other side had no memory for what it would have sent. The reply must be
// released.
//
// Between companions messages and the end keep their order: when the other side closes
// after more messages than the window holds, and nobody receives them, only ctx ends a
// Call. When it dies, the Call ends.
func (s *Session) Call(ctx context.Context, p *Parcel) (*Message, error) {
	l := s.l
	l.mu.Lock()
	c := s.newCall()
	if s.pending >= l.window { // the reply takes a credit as well
		s.creditTaken()
	}
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
			err = s.unanswered()
		}
	}
	return nil, err
}

// unanswered is the end of a call that the other side's close has ended. The caller
// holds mu.
func (s *Session) unanswered() error {
	if s.noticed {
		return fmt.Errorf("session with %s/%s ended before the reply: %w: %w there", s.peer, s.service, ErrPeer, ErrNoMemory)
	}
	return fmt.Errorf("session with %s/%s ended before the reply: %w", s.peer, s.service, ErrPeer)
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

// Reply answers the request m with p. It doesn't release m, and must come before who
// does. Its errors are those of Send; ErrMisuse: m is no request, or one of another session.
func (s *Session) Reply(ctx context.Context, m *Message, p *Parcel) error {
	if m.s != s || !m.Request() { // nobody would get it, or somebody else
		p.Release()
		return fmt.Errorf("%w: a reply to what is no request of this session", ErrMisuse)
	}
	return s.send(ctx, p, flagReply, m.correlation)
}
