package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// relay joins two sessions of the engine, each with one companion, into one
// between the two companions: what comes in on one side goes out on the other.
// The companions never see each other's memory.
type relay struct{ there, back flow }

// flow is one direction of a relay. It is run by whoever has changed something
// that it waits for: the leader of the lane that a message came in on, the leader
// of the other lane when a credit came back, the goroutine that freed memory. One
// of them runs it at a time; the others leave a note.
type flow struct {
	from, to *Session

	// Guarded by from.l.mu.
	running, again bool

	// Of the one who runs it.
	held    *Message // taken from the queue, not yet sent on
	parcel  *Parcel  // memory on the other side, for held
	sealing *sealing // of held, when that is a segment
	ended   bool
}

// join makes a and b forward to each other.
func join(a, b *Session) {
	r := &relay{there: flow{from: a, to: b}, back: flow{from: b, to: a}}
	a.attach(&r.there, &r.back)
	b.attach(&r.back, &r.there)
	r.there.run()
	r.back.run()
}

func (s *Session) attach(out, wakes *flow) {
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	s.out, s.wakes = out, wakes
	if l.sessions[s.id] == s {
		l.relayed.Add(1)
	}
}

// stir has f run soon: by the leader that is at work on this lane, or in a goroutine
// of its own. The caller holds l.mu, which need not be the lock of f.
func (l *link) stir(f *flow) {
	if f == nil {
		return
	}
	if l.dispatching {
		l.stirred = append(l.stirred, f)
		return
	}
	go f.run()
}

// runStirred runs what a batch of records has stirred. Only the leader calls it.
func (l *link) runStirred() {
	l.mu.Lock()
	work := l.stirred
	l.stirred = l.spare[:0]
	l.mu.Unlock()
	for i, f := range work {
		f.run()
		work[i] = nil
	}
	l.mu.Lock()
	l.spare = work[:0]
	l.mu.Unlock()
}

// run moves messages until there are none or the other side can take no more.
func (f *flow) run() {
	if !f.begin() {
		return
	}
	for {
		for f.step() {
		}
		f.from.l.settle()
		if f.finish() {
			return
		}
	}
}

func (f *flow) begin() bool {
	f.from.l.mu.Lock()
	defer f.from.l.mu.Unlock()
	if f.running {
		f.again = true
		return false
	}
	f.running = true
	return true
}

// finish stops running unless somebody left a note.
func (f *flow) finish() bool {
	f.from.l.mu.Lock()
	defer f.from.l.mu.Unlock()
	if f.again {
		f.again = false
		return false
	}
	f.running = false
	return true
}

// step moves one message; false when nothing can be moved now.
func (f *flow) step() bool {
	if f.ended {
		return false
	}
	if f.held == nil {
		m, end := f.take()
		if end != nil {
			f.end(*end)
			return false
		}
		if m == nil {
			return false
		}
		f.held = m
	}
	if f.held.flags&flagWhole != 0 {
		return f.passWhole()
	}
	return f.forward()
}

// pointless says that nobody is there any more for what is held. The caller holds the
// mu of the destination.
func (f *flow) pointless() bool { return f.to.closed || f.to.ended != nil || f.to.l.err != nil }

// orphaned is the end of a sender that has died without closing, or nil. What it has sent
// is lost then unless it can be passed on at once: whoever it is for may be waiting for
// something else from it, and must hear of its end.
func (f *flow) orphaned() *closing {
	l := f.from.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if !f.from.cut {
		return nil
	}
	return f.from.ended
}

// rest waits for something to change, if there is somebody for whom.
func (f *flow) rest() bool {
	if why := f.orphaned(); why != nil {
		f.abandon(*why) // with all that follows: there must be no gap before the end
	}
	return false
}

// take is the next message, or why there will be none.
func (f *flow) take() (*Message, *closing) {
	l := f.from.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.from.queue.len() > 0 {
		m := f.from.queue.pop()
		if m.flags&flagStarved != 0 {
			f.from.noticed = false
		}
		return m, nil
	}
	if f.from.closed {
		return nil, &closing{closePeer, "the other side is gone"}
	}
	return nil, f.from.ended
}

// end passes the end of one side on to the other.
func (f *flow) end(why closing) {
	f.ended = true
	_ = f.to.close(why)
	_ = f.from.close(closing{code: closeDone})
}

// forward copies held into memory of the destination and sends it on.
func (f *flow) forward() bool {
	m, to := f.held, f.to
	l := to.l
	l.mu.Lock()
	if f.pointless() {
		l.mu.Unlock()
		return f.waste()
	}
	if to.barren {
		l.mu.Unlock()
		f.abandon(closing{closeMemory, fmt.Sprintf("no memory for %d bytes on the way", len(m.data))})
		return false
	}
	if m.flags&flagStarved != 0 {
		l.mu.Unlock()
		to.starved(int(m.loc.length))
		f.drop()
		return true
	}
	if to.credit == 0 || f.parcel == nil && !f.claim(l, len(m.data)) {
		l.mu.Unlock()
		return f.rest()
	}
	to.spend()
	p := f.parcel
	f.parcel = nil
	l.mu.Unlock()
	if _, err := carry(p.shared(), p.data, m.shared(), m.data, 0); err != nil {
		f.parcel = p
		f.abandon(closing{closePeer, clip(err.Error(), maxInline)})
		return false
	}
	r := newRecord(kindMessage, m.flags, to.id, m.correlation)
	l.mu.Lock()
	next := l.sealLocked(p, &r, to.id)
	l.post(&r)
	l.mu.Unlock()
	claimPart(next, 0)
	f.drop()
	claimPart(next, 1)
	return true
}

// claim takes memory for held or leaves a wish for it. The caller holds l.mu.
func (f *flow) claim(l *link, n int) bool {
	if f.parcel = l.take(n); f.parcel != nil {
		return true
	}
	if !f.to.hungry {
		f.to.hungry = true
		l.starving = append(l.starving, &allocation{n: n, flow: f})
		l.grow(n)
	}
	return false
}

// drop releases held.
func (f *flow) drop() {
	l := f.from.l
	l.mu.Lock()
	l.debts.sure = true // run settles
	l.discard(f.held)
	l.debts.sure = false
	l.mu.Unlock()
	f.held, f.sealing = nil, nil
}

// waste drops what is held, and goes on. That the destination has ended is no reason to
// end the source: the other flow may still have to pass on what the destination sent
// before, and ends both after that.
func (f *flow) waste() bool {
	f.unclaim()
	f.drop()
	return true
}

// abandon ends both sides because of what is held. Both must learn that it is lost.
func (f *flow) abandon(why closing) {
	f.waste()
	f.ended = true
	_ = f.from.close(why)
	_ = f.to.close(why)
}

// unclaim gives back memory for held, the wish for it, and its place among those that wait for room.
func (f *flow) unclaim() {
	l := f.to.l
	l.mu.Lock()
	l.unlist(f)
	if f.to.hungry {
		f.to.hungry = false
		l.starving = slices.DeleteFunc(l.starving, func(a *allocation) bool { return a.flow == f })
	}
	l.mu.Unlock()
	if f.parcel != nil {
		f.parcel.Release()
		f.parcel = nil
	}
}

// relaying is what a leader waits for on a lane that only passes messages on: that
// somebody else wants the lead, or that there is nothing left to pass.
type relaying link

func (r *relaying) ready() bool { return r.waiters.Load() > 0 || r.relayed.Load() == 0 }

// openTimeout is how long a companion may take to answer an opening.
const openTimeout = 30 * time.Second

// connect answers a session that one companion opens to another: it opens one to
// the other, and tells the first how that went.
func (m *member) connect(s *Session, o opening, name string) {
	if err := m.bridge(s, o, name); err != nil {
		_ = s.close(notConnected(err))
	}
}

// notConnected is what the opener hears of err.
func notConnected(err error) closing {
	switch {
	case errors.Is(err, ErrAddress):
		return closing{closeAddress, "no such companion or service"}
	case errors.Is(err, ErrRefused):
		return closing{closeRefused, err.Error()}
	case errors.Is(err, ErrNoMemory):
		return closing{closeMemory, err.Error()}
	case errors.Is(err, context.DeadlineExceeded): // it may be stopped, and that is not death
		return closing{closeRefused, fmt.Sprintf("it has not answered for %v", openTimeout)}
	}
	return closing{closePeer, err.Error()}
}

// hosts is how many sessions this end has opened that are not over on both sides.
func (l *link) hosts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sessions) - l.guests
}

func (m *member) bridge(s *Session, o opening, name string) error {
	other, err := m.e.companion(name)
	if err != nil {
		return err
	}
	if n := other.link.hosts(); n >= maxUnclosed {
		return fmt.Errorf("%w: %d sessions to it are open or unanswered", ErrRefused, n)
	}
	ctx, cancel := context.WithTimeout(m.link.ctx, openTimeout)
	defer cancel()
	b, err := other.link.openSession(ctx, opening{address: o.address, from: m.name, header: o.header, trusted: s.trusted, relayed: true}, name, s.service)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: closed at once", ErrRefused)
	}
	if err != nil {
		return err
	}
	l := m.link
	l.mu.Lock()
	s.trusted = b.trusted
	if l.err == nil && !s.closed {
		l.postOpened(s)
	}
	l.mu.Unlock()
	join(s, b)
	return nil
}
