package ipc

import (
	"runtime/debug"
	"time"
)

// lastWords takes the lead for good and handles what the other side wrote before
// it went.
func (l *link) lastWords() {
	l.ending.Store(true)
	l.mu.Lock()
	if l.err == nil {
		l.shake()
	}
	l.mu.Unlock()
	for !l.takeLead() && !l.depose() {
		select {
		case <-l.vacant:
		case <-time.After(time.Millisecond): // a leader that begins to yield doesn't say so
		}
	}
	l.pumpAll()
}

// pumpAll handles what there is, and keeps the lead. What was written before the end
// fits into the ring; who goes on writing after it is not listened to.
func (l *link) pumpAll() {
	defer l.rescue(debug.SetPanicOnFault(true), true)
	for last := l.pumped.Load() + uint64(l.slots); l.pumped.Load() < last; {
		before := l.pumped.Load()
		if l.pump(); l.pumped.Load() == before {
			return
		}
	}
}

// takeDown gives everything back that nobody in this process still looks at. The
// caller leads.
func (l *link) takeDown() {
	l.watch.Stop()
	l.shrinkTimer.Stop()
	l.askTimer.Stop()
	l.txMu.Lock()
	l.gone = true
	l.txMu.Unlock()
	l.mu.Lock()
	l.leaveLane()
	for _, e := range l.mem.extents {
		l.dropExtent(e)
	}
	for _, s := range l.sessions {
		if s.ended == nil || s.cut {
			s.dropQueue()
		}
	}
	for _, f := range l.theirs {
		f.forgotten = true
		l.dropForeign(f)
	}
	err := l.err
	l.mu.Unlock()
	l.host.dead(l, err)
}

// dropExtent closes an extent of the own half once no parcel points into it. The
// caller holds mu.
func (l *link) dropExtent(e *extent) {
	if l.err != nil && e.held == 0 && !e.closed {
		e.closed = true
		l.noteUnmapped(spanOf(e.seg.Bytes()))
		_ = e.seg.Close()
	}
}

// dropForeign closes an extent of the other half once no message points into it.
func (l *link) dropForeign(f *foreign) {
	if !f.forgotten || f.leases > 0 || f.seg == nil {
		return
	}
	seg := f.seg
	l.noteUnmapped(f.span)
	f.seg = nil
	delete(l.theirs, f.number)
	if l.err == nil && f.outlived == nil && f.dropped == nil { // sent on, or received whole
		go func() { _ = seg.Close() }() // giving a gibibyte back takes 40 ms, and others wait for mu
		return
	}
	_ = seg.Close()
	switch {
	case f.outlived != nil:
		f.outlived()
	case f.dropped != nil && l.err == nil:
		f.dropped()
	}
}
