package ipc

import (
	"errors"
	"fmt"

	"berth/internal/shm"
)

// extent makes an extent of one half and passes it over. An incoming one waits in
// unmapped until the companion can read it.
func (m *member) extent(half uint32, size int) (*shm.Segment, error) {
	seg, err := shm.NewSegment(size)
	if err != nil {
		return nil, err
	}
	ok, err := m.enlist(half, seg)
	if !ok {
		_ = seg.Close()
		return nil, fmt.Errorf("%w: %s", ErrPeer, m.name)
	}
	if err != nil {
		m.link.unheard(err)
	}
	return seg, err
}

// enlist numbers a segment, says who looks after it from now on, and passes it over; false
// when the companion is gone and nobody would. It is one step: the companion may say that
// it has unmapped a segment which it has not got, and the handle be another's by then.
func (m *member) enlist(half uint32, seg *shm.Segment) (ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	number := m.next.Add(1)
	extent := extentFrame{number, half, uint64(seg.Size())}.encode()
	if half == incoming {
		if m.left {
			return false, nil
		}
		m.unmapped[number] = seg
		return true, m.conn.write(frameExtent, extent, shareRead(seg))
	}
	m.growing, m.bereft = false, false // it may ask again as soon as it has read the frame
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	if m.link.err != nil {
		return false, nil
	}
	size := int64(seg.Size())
	theirs := newForeign(number, seg)
	theirs.dropped = func() { go m.e.refund(m, size) }
	m.link.theirs[number] = theirs
	return true, m.conn.write(frameExtent, extent, share(seg))
}

// mapped lets the engine allocate from an incoming extent. Outgoing ones are
// sealed here when they came after registration.
func (m *member) mapped(body []byte) error {
	number, err := decodeUint32(body)
	if err != nil || number == 0 {
		return err
	}
	m.mu.Lock()
	seg := m.unmapped[number]
	delete(m.unmapped, number)
	m.mu.Unlock()
	if seg != nil {
		if m.ready.Load() {
			err = seg.Seal()
		}
		m.link.grown(number, seg)
		return err
	}
	return m.mappedTheirs(number)
}

// mappedTheirs is mapped for an extent that isn't of the engine's half.
func (m *member) mappedTheirs(number uint32) error {
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	f := m.link.theirs[number]
	switch {
	case f == nil && number > m.next.Load():
		return fmt.Errorf("mapped segment %d, which was never passed", number)
	case f == nil || f.forgotten: // the ring was faster than the stream: it has been sent on or given back
		return nil
	case m.ready.Load():
		return f.seg.Seal()
	}
	return nil
}

// want gives the companion another outgoing extent, in the background: committing
// a large one takes a while.
func (m *member) want(body []byte) error {
	n, err := decodeUint64(body)
	if err != nil {
		return err
	}
	if n == 0 || n > uint64(m.e.opts.Largest) {
		return fmt.Errorf("it wants a parcel of %d bytes, the largest is %d", n, m.e.opts.Largest)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.growing {
		return errors.New("it wants more before its last wish was answered")
	}
	m.growing = true
	m.e.wg.Go(func() {
		if err := m.enlarge(outgoing, int(n)); err != nil { // otherwise it may have the next wish by now
			m.answered()
			m.e.log.Warn("no memory for a companion", "name", m.name, "bytes", n, "reason", err)
			_ = m.link.tell(frameDenied, body)
		}
	})
	return nil
}

func (m *member) answered() {
	m.mu.Lock()
	m.growing = false
	m.mu.Unlock()
}

// enlarge adds an extent that can hold n bytes in a row.
func (m *member) enlarge(half uint32, n int) error {
	err := m.fit(half, n)
	if err != nil && m.link.cause() == nil {
		m.e.noteDenial(m, n, err)
	}
	return err
}

func (m *member) fit(half uint32, n int) error {
	size := extentFor(n, m.e.opts.Unit)
	if most := m.e.opts.attainable(); size > most { // room for it alone will do
		size = max(most, extentAlone(n, m.e.opts.Unit))
	}
	m.link.mu.Lock()
	has := m.link.extents()
	m.link.mu.Unlock()
	if most := m.e.opts.extents; has >= most {
		return fmt.Errorf("%w: it has %d extents already, release some of what they hold", ErrNoMemory, most)
	}
	if !m.e.chargeSoon(m, int64(size)) {
		return fmt.Errorf("%w: its share of %d bytes or the budget of %d is spent", ErrNoMemory, m.e.opts.Share, m.e.opts.Budget)
	}
	return m.charged(half, size)
}

// charged makes an extent whose memory is on the account already.
func (m *member) charged(half uint32, size int) error {
	_, err := m.extent(half, size)
	m.e.made(m, int64(size), err == nil)
	return err
}

// extentFor is the size of an extent made for a parcel of n bytes: four of them,
// or one alone when it is large.
func extentFor(n, unit int) int {
	size := (n + unit - 1) / unit * unit
	if size < maxExtent/4 {
		size = max(4*size, 1<<20)
	}
	return extentAlone(size, unit)
}

// extentAlone is the size of an extent that holds one parcel of n bytes.
func extentAlone(n, unit int) int {
	const grain = 64 << 10 // whole units, and whole pages of the largest size in use
	return (max(n, unit) + grain - 1) / grain * grain
}

// grow adds to the incoming half.
func (m *member) grow(l *link, n int) {
	m.e.wg.Go(func() {
		if err := m.enlarge(incoming, n); err != nil {
			m.e.log.Warn("no memory for what the controller sends", "name", m.name, "bytes", n, "reason", err)
			l.denied()
		}
	})
}

// forget: the companion has unmapped an extent.
func (m *member) forget(body []byte) error {
	number, err := decodeUint32(body)
	if err != nil {
		return err
	}
	if m.parted(number) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.link
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.theirs[number]
	if f == nil || f.forgotten {
		return fmt.Errorf("forgets segment %d, which is none of its own", number)
	}
	f.forgotten = true
	size := int64(f.seg.Size())
	switch {
	case size <= floorSize || m.growing:
	case l.theirsAllForgotten():
		m.growing = true
		f.dropped = func() { m.e.wg.Go(func() { m.exchange(outgoing, size) }) }
	default:
		m.bereft = true
	}
	l.dropForeign(f)
	return nil
}

// parted ends an extent of the incoming half, if it was to be forgotten.
func (m *member) parted(number uint32) bool {
	m.mu.Lock()
	size, ok := m.leaving[number]
	delete(m.leaving, number)
	last := ok && number == m.swapping
	m.mu.Unlock()
	switch {
	case last:
		m.e.wg.Go(func() { m.exchange(incoming, size) })
	case ok:
		m.e.refund(m, size)
	}
	return ok
}

// theirsAllForgotten: the other half has nothing left. The caller holds mu.
func (l *link) theirsAllForgotten() bool {
	for _, f := range l.theirs {
		if !f.forgotten {
			return false
		}
	}
	return true
}
