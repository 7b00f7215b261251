package ipc

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	rest := e.seg.Bytes()[len(p.data):]
	l.recycle(p)
	l.mu.Unlock()
	// What this program had there before is not for the receiver.
	if err := guarded(rest, "a payload", func() error { clear(rest); return nil }); err != nil {
		l.breach(err)
	}
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

// passage is a whole segment that a companion got and has not released. It is guarded by
// the mutex of the link to that companion.
type passage struct {
	session uint32
	size    int64        // on the account of the companion
	kept    *keptPayload // then it is on that of the cache
}

// sealing is a segment being closed to writers.
type sealing struct {
	through chan struct{} // closed then
	err     error
}

// passWhole is forward for a message that is a segment. Until that is sealed the message
// stays, whatever ends.
func (f *flow) passWhole() bool {
	if f.sealing == nil {
		f.sealing = f.seal()
	}
	select {
	case <-f.sealing.through:
	default:
		return false
	}
	if err := f.sealing.err; err != nil {
		f.abandon(closing{closePeer, clip(err.Error(), maxInline)})
		return false
	}
	return f.postHeld()
}

// seal closes the segment of held to writers. That may have to wait for the sender, so it
// is done in a goroutine, which has f go on; between those who trust each other nothing
// waits, and a goroutine more would be a thread to wake.
func (f *flow) seal() *sealing {
	seg, s := f.held.from.seg, &sealing{through: make(chan struct{})}
	if f.from.trusted && f.to.trusted {
		s.err = seg.Seal()
		close(s.through)
		return s
	}
	go func() {
		s.err = f.freeze(seg)
		close(s.through)
		f.run()
	}()
	return s
}

// freeze makes a segment immutable as soon as its sender has unmapped it.
func (f *flow) freeze(seg *shm.Segment) error {
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

// postHeld sends the segment of held on.
func (f *flow) postHeld() bool {
	m, to := f.held, f.to
	l, seg := to.l, m.from.seg
	l.mu.Lock()
	switch {
	case f.pointless():
		l.mu.Unlock()
		return f.waste()
	case to.credit == 0:
		l.mu.Unlock()
		return f.rest()
	}
	size := int64(seg.Size())
	if !l.receive(size) {
		if !slices.Contains(l.full, f) {
			l.full = append(l.full, f)
		}
		l.mu.Unlock()
		return f.rest()
	}
	l.unlist(f) // it may be a credit that had it try again
	to.spend()
	r := newRecord(kindMessage, m.flags, to.id, m.correlation)
	l.postWhole(&r, seg, len(m.data), passage{session: to.id, size: size})
	l.mu.Unlock()
	f.refundSender()
	f.drop()
	return true
}

// unlist takes f off those that wait until the companion releases a segment. The caller
// holds mu.
func (l *link) unlist(f *flow) {
	l.full = slices.DeleteFunc(l.full, func(other *flow) bool { return other == f })
}

// receive puts n bytes that are about to be sent to the companion on its account; until
// they are off the sender's they stand on both. Not while it has no room for them and holds
// others, whose release makes some. The caller holds mu.
func (l *link) receive(n int64) bool {
	m := l.host.(*member)
	e := m.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.members[m.name] != m {
		return true // it is going, and this with it
	}
	full := m.bytes+n > e.opts.Share || l.extents() >= e.opts.extents
	if full && len(l.passages) > l.lent() {
		return false
	}
	e.book(m, n)
	return true
}

// postWhole sends a segment, whose first n bytes are the message r: r goes first, for no
// doorbell is needed before a frame. Who gets them waits for both. The caller holds mu.
func (l *link) postWhole(r *record, seg *shm.Segment, n int, p passage) {
	number := l.host.(*member).next.Add(1)
	l.passages[number] = p
	r.setLocation(location{number, 1, 0, uint64(n)})
	wake, err := l.transmitOrKeep(r)
	if err != nil {
		go l.breach(err)
		return
	}
	if wake == asleep {
		l.bell.wakePeer()
	}
	if err := l.conn.write(frameExtent, extentFrame{number, passed, uint64(seg.Size())}.encode(), shareRead(seg)); err != nil {
		go l.unheard(err)
	}
}

// refundSender takes what was sent on off the account of who sent it.
func (f *flow) refundSender() {
	l, seg := f.from.l, f.held.from
	l.mu.Lock()
	outlived := seg.outlived
	seg.dropped, seg.outlived = nil, nil
	l.mu.Unlock()
	if outlived != nil {
		outlived()
		return
	}
	m := l.host.(*member)
	m.e.refund(m, int64(seg.seg.Size()))
}

// returned ends a passage that the receiver has released. The caller holds mu.
func (l *link) returned(loc location) (session uint32, ok bool) {
	p, ok := l.passages[loc.segment]
	if !ok || loc.generation != 1 {
		return 0, false
	}
	delete(l.passages, loc.segment)
	m := l.host.(*member)
	if p.kept != nil {
		go m.e.cache.unlease(p.kept) // freeing it may take a while
	} else {
		m.e.refund(m, p.size)
	}
	for _, f := range l.full {
		l.stir(f)
	}
	clear(l.full)
	l.full = l.full[:0]
	return p.session, true
}
