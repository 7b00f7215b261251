package ipc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/shm"
)

const (
	// wholeSize is from where on a parcel between companions is passed as a segment of
	// its own: below it the copy is cheaper than the rounds through the kernel.
	wholeSize = 4 << 20
	// freezeTime is how long a sender may take to unmap what it has sent.
	freezeTime = time.Second
	// unmapAfter is when a trusted sender unmaps what it has sent. It takes 40 ms for a
	// gibibyte, and who passes the segment on meanwhile would wait for the processor.
	unmapAfter = 20 * time.Millisecond
)

// wholeFrom is what the engine says in its welcome.
func wholeFrom() int {
	if shm.CanFreeze {
		return wholeSize
	}
	return 0
}

// relayed says whether the other end of s is another companion.
func (s *Session) relayed() bool { return s.l.companion && s.peer != Controller }

// takeAs is take, or takes a whole extent. The caller holds mu.
func (l *link) takeAs(n int, whole bool) *Parcel {
	if !whole {
		return l.take(n)
	}
	for _, e := range l.mem.extents[min(1, len(l.mem.extents)):] {
		if e.held+e.sent > 0 || e.seg.Size() != extentFor(n, l.unit) {
			continue
		}
		if at := e.take(len(e.block)); at != none {
			p := l.newParcel()
			p.ext, p.at, p.data, p.whole = e, at, e.seg.Bytes()[:n:n], true
			return p
		}
	}
	return nil
}

// sendWhole gives the extent of p away. The caller has taken a credit.
func (s *Session) sendWhole(ctx context.Context, p *Parcel, flags uint8, correlation uint32) error {
	l := s.l
	l.mu.Lock()
	e := p.ext
	r := newRecord(kindMessage, flags|flagWhole, s.id, correlation)
	r.setLocation(location{e.number, e.block[p.at].generation, 0, uint64(len(p.data))})
	if len(p.data) < l.whole || e.held != 1 || e.sent != 0 || p.at != 0 || l.err != nil { // it was shortened, or its tail used for something else
		r = newRecord(kindMessage, flags, s.id, correlation)
		l.sealLocked(p, &r, s.id)
		l.mu.Unlock()
		return l.publish(ctx, s, &r)
	}
	l.mem.remove(e)
	e.closed = true
	l.recycle(p)
	l.mu.Unlock()
	if !s.trusted {
		_ = e.seg.Close()
	}
	err := l.send(ctx, &r)
	if s.trusted {
		time.AfterFunc(unmapAfter, func() { _ = e.seg.Close() })
	}
	if err != nil {
		_ = l.tell(frameForget, le.AppendUint32(nil, e.number))
		l.mu.Lock()
		s.uncredit()
		l.mu.Unlock()
	}
	return err
}

// passage is a whole segment on its way to a companion, or lying there. It is
// guarded by the mutex of the link to that companion.
type passage struct {
	flow    *flow         // nil when it comes from the cache
	kept    *keptPayload  // then: what it shows
	session uint32        // then: the session it goes to
	mapped  chan struct{} // then: closed on arrival
	state   int
	passed  bool // it has been sealed and handed over, or could not be
	number  uint32
	size    int64
	err     error
}

// States of a passage: sealing → mapped → posted, or sealing → failed. It may end before
// it is posted (takeBack).
const (
	passageSealing = iota
	passageMapped
	passagePosted
	passageFailed
)

// passWhole is forward for a message that is a segment. Freezing may have to wait for
// the sender, so it goes on in a goroutine; between those who trust each other nothing
// waits, and a goroutine more would be a thread to wake. The flow rests until the
// receiver has mapped the segment.
func (f *flow) passWhole() bool {
	to, l := f.to, f.to.l
	orphaned := f.orphaned()
	l.mu.Lock()
	pointless := f.pointless()
	if f.passage == nil && !pointless && orphaned == nil {
		f.passage = &passage{flow: f, size: int64(f.held.from.seg.Size())}
		if f.trusted() {
			l.mu.Unlock()
			f.pass(f.passage)
			l.mu.Lock()
		} else {
			go f.passAside(f.passage)
		}
	}
	p := f.passage
	ready := p != nil && p.state == passageMapped && to.credit > 0
	switch {
	case p != nil && !p.passed: // pass is at work on held
		l.mu.Unlock()
		return false
	case p != nil && p.state == passageFailed:
		l.mu.Unlock()
		f.passage = nil
		f.abandon(closing{closePeer, clip(p.err.Error(), maxInline)})
		return false
	case pointless, !ready && orphaned != nil:
		l.mu.Unlock()
		f.passage = nil
		if p != nil {
			l.host.(*member).takeBack(p)
		}
		if pointless {
			return f.waste()
		}
		f.abandon(*orphaned)
		return false
	case !ready:
		l.mu.Unlock()
		return false
	}
	to.spend()
	p.state = passagePosted
	r := newRecord(kindMessage, f.held.flags, to.id, f.held.correlation)
	r.setLocation(location{p.number, 1, 0, uint64(len(f.held.data))})
	l.post(&r)
	l.mu.Unlock()
	f.passage = nil
	f.drop()
	return true
}

// pass seals the segment of held and gives it to the receiver. Until it is through held
// stays, whatever ends.
func (f *flow) pass(p *passage) {
	err := f.sealed()
	if err == nil {
		err = f.to.l.host.(*member).receive(p, f)
	}
	l := f.to.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.passed = true; err != nil {
		p.state, p.err = passageFailed, err
	}
}

// passAside is pass for who does not run f.
func (f *flow) passAside(p *passage) {
	f.pass(p)
	l := f.to.l
	l.mu.Lock()
	l.stir(f)
	l.mu.Unlock()
}

func (f *flow) trusted() bool { return f.from.trusted && f.to.trusted }

// sealed makes the segment immutable, or at least closed to new writers when both
// ends trust each other.
func (f *flow) sealed() error {
	seg := f.held.from.seg
	if f.trusted() {
		return seg.Seal()
	}
	deadline := time.Now().Add(freezeTime)
	for {
		err := seg.Freeze()
		if !errors.Is(err, shm.ErrBusy) {
			return err
		}
		if time.Now().After(deadline) {
			f.from.l.breach(fmt.Errorf("it still has a segment mapped that it sent %v ago", freezeTime))
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// receive passes the segment of a flow to the member it goes to.
func (m *member) receive(p *passage, f *flow) error {
	sender := f.from.l.host.(*member)
	seg := f.held.from.seg
	m.mu.Lock()
	m.next++
	p.number = m.next
	m.mu.Unlock()
	f.from.l.mu.Lock()
	outlived := f.held.from.outlived
	f.held.from.dropped, f.held.from.outlived = nil, nil // its account goes with it
	f.from.l.mu.Unlock()
	if outlived != nil {
		outlived()
	}
	m.e.transfer(sender, m, p.size)
	m.link.mu.Lock()
	m.link.passages[p.number] = p
	m.link.mu.Unlock()
	return m.link.tell(frameExtent, extentFrame{p.number, passed, uint64(p.size)}.encode(), shareRead(seg))
}

// transfer moves n bytes from one account to the other.
func (e *Engine) transfer(from, to *member, n int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.members[from.name] == from {
		e.book(from, -n)
	}
	if e.members[to.name] == to {
		e.book(to, n)
	} else {
		e.roomMayBeFree()
	}
}

// arrived notes that the receiver has mapped a passage, and answers it. The caller
// holds the link's mu, and has the flow of the passage run, if it has one.
func (l *link) arrived(number uint32) *passage {
	p := l.passages[number]
	if p == nil || p.state != passageSealing {
		return nil
	}
	p.state = passageMapped
	if p.flow == nil {
		close(p.mapped)
	}
	return p
}

// returned ends a passage that the receiver has released. The caller holds mu.
func (l *link) returned(loc location) (session uint32, ok bool) {
	p := l.passages[loc.segment]
	if p == nil || p.state != passagePosted || loc.generation != 1 {
		return 0, false
	}
	delete(l.passages, loc.segment)
	m := l.host.(*member)
	if p.flow == nil {
		go m.e.cache.unlease(p.kept) // freeing it may take a while
		return p.session, true
	}
	go m.e.refund(m, p.size)
	return p.flow.to.id, true
}
