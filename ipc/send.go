package ipc

import (
	"context"
	"fmt"
)

// Send hands p over: from now on it belongs to the other side, whatever Send
// answers, and may not be released (Parcel.Release says why). It waits while the window is full, until ctx ends. io.EOF: the other side
// has closed. ErrPeer: it is gone, and ErrNoMemory besides when the session ended because
// a message was lost on its way for want of memory. ErrClosed: this side has closed.
// ErrMisuse: p has been sent or released before, or is of another connection.
func (s *Session) Send(ctx context.Context, p *Parcel) error { return s.send(ctx, p, 0, 0) }

// SendBytes copies b into a parcel and sends it. Its errors are those of Alloc and of
// Send; ErrNoMemory without ErrPeer: there is no memory now, and the session goes on.
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
	if p.data == nil {
		return fmt.Errorf("%w: this parcel was sent or released before", ErrMisuse)
	}
	if p.l != s.l {
		p.Release()
		return fmt.Errorf("%w: a parcel of another connection", ErrMisuse)
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
	next := s.l.sealLocked(p, &r, s.id)
	s.l.mu.Unlock()
	claimPart(next, 0)
	err := s.l.publish(ctx, s, &r)
	claimPart(next, 1)
	return err
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
	s.uncredit()
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

// spend uses a credit for a message. The caller holds mu.
func (s *Session) spend() {
	s.credit--
	s.told = false
}

// uncredit gives a credit back that was not used, to whoever waits for one. The caller
// holds mu.
func (s *Session) uncredit() {
	s.credit++
	s.l.notifyOne(s.sendable)
}

// sealLocked writes what p holds into r and lets go of p. It answers what the next
// parcel of that size will be. The caller holds mu.
func (l *link) sealLocked(p *Parcel, r *record, session uint32) (next []byte) {
	e := p.ext
	if e == nil {
		r.setInline(p.data)
		l.recycle(p)
		return nil
	}
	b := &e.block[p.at]
	b.state, b.session = blockSent, session
	e.held--
	e.sent++
	r.setLocation(location{e.number, b.generation, uint64(p.at) * uint64(l.unit), uint64(len(p.data))})
	l.dropExtent(e)
	l.recycle(p)
	if b.units == 1 && l.err == nil {
		return e.upcoming(l.unit)
	}
	return nil
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
			s.spend()
			if s.credit > 0 {
				l.notifyOne(s.sendable)
			}
			return nil
		}
		if err != nil {
			l.notifyOne(s.sendable) // one is told of an end, and passes it on
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
