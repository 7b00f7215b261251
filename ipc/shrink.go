package ipc

import (
	"time"

	"berth/internal/shm"
)

// idleTime is how long an extent may lie empty before it goes back to the system.
// The first extent of a half stays.
const idleTime = 2 * time.Second

// emptied starts the clock of an extent that has just become empty. The caller
// holds mu.
func (l *link) emptied(e *extent) {
	if e.held+e.sent > 0 || l.err != nil || len(l.mem.extents) == 0 || e == l.mem.extents[0] {
		return
	}
	e.idle = time.Now()
	if !l.shrinking {
		l.shrinking = true
		l.shrinkTimer.Reset(idleTime)
	}
}

// shrink gives back the extents that have been empty long enough; it comes again
// only while there are such that have not.
func (l *link) shrink() {
	l.mu.Lock()
	l.shrinking = false
	gone := l.surplus(idleTime)
	if l.err == nil && !l.shrinking && l.hasSurplus() {
		l.shrinking = true
		l.shrinkTimer.Reset(idleTime)
	}
	l.mu.Unlock()
	l.giveBack(gone)
}

// trim gives back every extent that is empty now.
func (l *link) trim() {
	l.mu.Lock()
	gone := l.surplus(0)
	l.mu.Unlock()
	l.giveBack(gone)
}

func (l *link) hasSurplus() bool {
	for _, e := range l.mem.extents[min(1, len(l.mem.extents)):] {
		if e.held+e.sent == 0 {
			return true
		}
	}
	return false
}

// surplus takes the extents that were empty for the given time out of the half.
// The caller holds mu.
func (l *link) surplus(age time.Duration) (gone []*extent) {
	if l.err != nil || len(l.starving) > 0 || len(l.mem.extents) == 0 {
		return nil
	}
	kept := l.mem.extents[:1]
	for _, e := range l.mem.extents[1:] {
		if e.held+e.sent == 0 && time.Since(e.idle) >= age {
			gone = append(gone, e)
		} else {
			kept = append(kept, e)
		}
	}
	clear(l.mem.extents[len(kept):])
	l.mem.extents = kept
	return gone
}

func (l *link) giveBack(gone []*extent) {
	for _, e := range gone {
		l.host.parting(e.number, e.seg)
		_ = e.seg.Close()
		_ = l.tell(frameForget, le.AppendUint32(nil, e.number))
	}
}

// parting: the companion keeps an extent of the incoming half mapped until it says
// otherwise, so it stays on its account until then.
func (m *member) parting(number uint32, seg *shm.Segment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving[number] = int64(seg.Size())
}

func (c *Client) parting(uint32, *shm.Segment) {}
