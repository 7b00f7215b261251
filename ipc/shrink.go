package ipc

import (
	"fmt"
	"time"

	"berth/internal/shm"
)

const (
	// idleTime is how long an extent may lie empty before it goes back to the system.
	// The first extent of a half stays, for as long as memory is not short.
	idleTime = 2 * time.Second
	// pressedTime is how long the first extent may lie empty once memory is short.
	pressedTime = 200 * time.Millisecond
	// floorSize is the extent that takes its place then: it holds a piece of a stream,
	// so that everything goes on, if slowly, should the budget stay spent.
	floorSize = chunk
)

// spared is how many extents stay while nobody else wants their memory: the first, and
// where that is only a floor, one that is worth keeping warm.
func (l *link) spared() int {
	n := 1
	if l.floored {
		n = 2
	}
	return min(n, len(l.mem.extents))
}

// emptied starts the clock of an extent that has just become empty. The caller
// holds mu.
func (l *link) emptied(e *extent) {
	if e.held+e.sent > 0 || l.err != nil || len(l.mem.extents) == 0 || e == l.mem.extents[0] && !l.pressed {
		return
	}
	e.idle = time.Now()
	l.shrinkSoon(idleTime)
}

// shrinkSoon has shrink run; the caller holds mu.
func (l *link) shrinkSoon(d time.Duration) {
	if l.mayExchange() {
		d = pressedTime
	}
	if !l.shrinking {
		l.shrinking = true
		l.shrinkTimer.Reset(d)
	}
}

// shrink gives back the extents that have been empty long enough; it comes again
// only while there are such that have not.
func (l *link) shrink() {
	l.mu.Lock()
	l.shrinking = false
	gone := l.surplus(idleTime)
	last := l.exchanged()
	if l.err == nil && !l.shrinking && (l.hasSurplus() || l.mayExchange()) {
		l.shrinkSoon(idleTime)
	}
	l.mu.Unlock()
	l.giveBack(gone, last)
}

// trim, when memory is short, gives back every extent that is empty now, and begins
// to look whether the first one is in use.
func (l *link) trim() {
	l.mu.Lock()
	gone := l.surplus(0)
	if len(l.mem.extents) > 0 && l.mem.extents[0].seg.Size() > floorSize && !l.pressed {
		l.pressed = true
		l.mem.extents[0].idle = time.Now()
		l.shrinking = false // the timer may be set for later
	}
	if l.mayExchange() {
		l.shrinkSoon(pressedTime)
	}
	l.mu.Unlock()
	l.giveBack(gone, nil)
}

// mayExchange says whether the half is down to an empty extent that a floor could
// take the place of. The caller holds mu.
func (l *link) mayExchange() bool {
	if !l.pressed || l.err != nil || len(l.mem.extents) != 1 {
		return false
	}
	e := l.mem.extents[0]
	return e.held+e.sent == 0 && e.seg.Size() > floorSize
}

// exchanged takes the last extent out of the half, which has none until the engine
// has sent a floor; who wants memory meanwhile waits as for any other extent. The
// caller holds mu.
func (l *link) exchanged() *extent {
	if !l.mayExchange() || l.wanting || len(l.starving) > 0 || time.Since(l.mem.extents[0].idle) < pressedTime {
		return nil
	}
	e := l.mem.extents[0]
	l.mem.remove(e)
	l.wanting, l.wanted = true, 0 // if there is no floor, there is nothing for anybody
	l.pressed, l.floored = false, true
	return e
}

func (l *link) hasSurplus() bool {
	for _, e := range l.mem.extents[l.spared():] {
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
	spared := 1
	if age > 0 {
		spared = l.spared()
	}
	kept := l.mem.extents[:spared]
	for _, e := range l.mem.extents[spared:] {
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

// giveBack tells the other side to forget what was taken out of the half; last is nil,
// or the extent that a floor replaces.
func (l *link) giveBack(gone []*extent, last *extent) {
	if last != nil {
		gone = append(gone, last)
	}
	for _, e := range gone {
		l.host.parting(e.number, e.seg, e == last)
		_ = e.seg.Close()
		_ = l.tell(frameForget, le.AppendUint32(nil, e.number))
	}
}

// parting: the companion keeps an extent of the incoming half mapped until it says
// otherwise, so it stays on its account until then.
func (m *member) parting(number uint32, seg *shm.Segment, last bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving[number] = int64(seg.Size())
	if last {
		m.swapping = number
	}
}

func (c *Client) parting(uint32, *shm.Segment, bool) {}

// exchange has a floor take the place of an extent of n bytes that was the last of its
// half: nobody is left without memory because others needed some.
func (m *member) exchange(half uint32, n int64) {
	if !m.e.swap(m, n, floorSize) {
		return
	}
	if err := m.charged(half, floorSize); err != nil {
		m.floorless(half, err)
	}
}

// gaveAll is told when the last segment that a companion had was sent whole. If it gave
// its last other one back before that was seen here, it still waits for its floor: the
// control stream was faster than the ring.
func (m *member) gaveAll() {
	m.mu.Lock()
	due := m.bereft && !m.growing
	m.growing, m.bereft = m.growing || due, false
	m.mu.Unlock()
	if !due {
		return
	}
	err := fmt.Errorf("%w: no %d bytes for a floor", ErrNoMemory, floorSize)
	if m.e.chargeSoon(m, floorSize) {
		err = m.charged(outgoing, floorSize)
	}
	if err != nil {
		m.floorless(outgoing, err)
	}
}

// floorless tells a half that it has to do without a floor.
func (m *member) floorless(half uint32, err error) {
	m.e.log.Warn("no memory for the rest of a block", "name", m.name, "bytes", floorSize, "reason", err)
	if half == incoming {
		m.link.denied()
		return
	}
	m.answered()
	_ = m.link.tell(frameDenied, le.AppendUint64(nil, floorSize))
}
