package ipc

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"berth/internal/shm"
)

// States of an allocation: held → sent → (released by the peer) free, or held → free.
const (
	blockFree = iota
	blockHeld
	blockSent
)

const (
	lookOrders = 9 // look-aside lists for 1, 2, 4 … 256 units
	lookDepth  = 8
	// singles is how many single units rest before they are used again. Their cache
	// lines are still on the way back from the reader, and the next one can be claimed
	// ahead: 4 KiB messages at 11.9 GB/s, against 9.4 when the last one freed is taken first.
	singles = 64
)

// memory manages the half of a block that this side allocates. All of its state
// is private to this process. It is guarded by the mutex of its link.
type memory struct {
	unit    int
	extents []*extent // in order of number
}

// extent is one segment of the half.
type extent struct {
	number uint32
	seg    *shm.Segment
	buddy  *buddy
	look   [lookOrders][]int32
	single fifo[int32] // in place of look[0]
	cached int         // units on the look-aside lists and in single
	block  []block     // by first unit
	held   int         // allocations that a parcel of this process points to
	sent   int         // allocations that the peer has to give back
	idle   time.Time   // since when it has been empty
	closed bool
}

type block struct {
	units      uint32
	generation uint32
	session    uint32
	state      uint8
}

func (m *memory) add(number uint32, seg *shm.Segment) *extent {
	units := seg.Size() / m.unit
	e := &extent{number: number, seg: seg, buddy: newBuddy(units), block: make([]block, units)}
	at, _ := m.search(number)
	m.extents = slices.Insert(m.extents, at, e)
	return e
}

// search is where the extent of that number is, or belongs.
func (m *memory) search(number uint32) (int, bool) {
	return slices.BinarySearchFunc(m.extents, number, func(e *extent, n uint32) int { return cmp.Compare(e.number, n) })
}

// take finds room for n bytes in the first extent that has it.
func (m *memory) take(n int) (*extent, int, bool) {
	units := (n + m.unit - 1) / m.unit
	for _, e := range m.extents {
		if !e.mayHold(units) {
			continue
		}
		if at := e.take(units); at != none {
			return e, at, true
		}
	}
	return nil, 0, false
}

// give takes an allocation back that the peer says it has read. Everything in l
// is the peer's claim.
func (m *memory) give(l location) (e *extent, session uint32, err error) {
	e = m.find(l.segment)
	if e == nil {
		return nil, 0, fmt.Errorf("release in segment %d, which is none of ours", l.segment)
	}
	at := l.offset / uint64(m.unit)
	if l.offset%uint64(m.unit) != 0 || at >= uint64(len(e.block)) {
		return nil, 0, fmt.Errorf("release at offset %d of an extent of %d units", l.offset, len(e.block))
	}
	b := &e.block[at]
	if b.state != blockSent || b.generation != l.generation {
		return nil, 0, fmt.Errorf("release of generation %d at offset %d, which has generation %d and state %d",
			l.generation, l.offset, b.generation, b.state)
	}
	e.sent--
	e.free(int(at))
	return e, b.session, nil
}

// couldHold says whether n bytes would fit if nothing were in use.
func (m *memory) couldHold(n int) bool {
	for _, e := range m.extents {
		if n <= e.seg.Size() {
			return true
		}
	}
	return false
}

// remove takes an extent out of the half.
func (m *memory) remove(e *extent) {
	if at, ok := m.search(e.number); ok {
		m.extents = slices.Delete(m.extents, at, at+1)
	}
}

func (m *memory) find(number uint32) *extent {
	if at, ok := m.search(number); ok {
		return m.extents[at]
	}
	return nil
}

// halfUsage says how full a half is, in bytes.
type halfUsage struct {
	size, used int
	largest    int // longest free run
	free, runs int // free, and the longest free runs of all extents together
}

func (m *memory) usage() (u halfUsage) {
	for _, e := range m.extents {
		free, run := e.buddy.free, e.buddy.largest()
		if e.held+e.sent == 0 { // what lies on the look-aside lists is one take away from being whole
			free, run = len(e.block), len(e.block)
		}
		u.size += e.seg.Size()
		u.used += e.used() * m.unit
		u.free += free * m.unit
		u.runs += run * m.unit
		u.largest = max(u.largest, run*m.unit)
	}
	return u
}

// fragmentation is the share of the free memory that is not in its extent's longest
// free run: 0 when there is no better place for anything.
func (u halfUsage) fragmentation() float64 {
	if u.free == 0 {
		return 0
	}
	return 1 - float64(u.runs)/float64(u.free)
}

// mayHold is a quick look: false when a take of n units would be in vain.
func (e *extent) mayHold(n int) bool {
	return n <= len(e.block) && (e.cached > 0 || n <= e.buddy.largest())
}

func (e *extent) used() int { return len(e.block) - e.buddy.free - e.cached }

// take finds n units: among those of this very size that were just freed, else
// in the buddy system, the look-aside lists emptied into it when it has none.
func (e *extent) take(n int) int {
	var at int
	if k := lookOrder(n); k == 0 && e.single.len() > singles {
		at = int(e.single.pop())
		e.cached--
	} else if k > 0 && len(e.look[k]) > 0 {
		list := e.look[k]
		at = int(list[len(list)-1])
		e.look[k], e.cached = list[:len(list)-1], e.cached-n
	} else if at = e.buddy.take(n); at == none && e.cached > 0 {
		e.flush()
		at = e.buddy.take(n)
	}
	if at != none {
		b := &e.block[at]
		b.units, b.state = uint32(n), blockHeld
		b.generation++
		e.held++
	}
	return at
}

// free gives an allocation back; the caller has counted it out of held or sent.
func (e *extent) free(at int) {
	b := &e.block[at]
	n := int(b.units)
	b.state = blockFree
	if n == 1 && e.single.len() < 2*singles {
		e.single.push(int32(at))
		e.cached++
		return
	}
	if k := lookOrder(n); k > 0 && len(e.look[k]) < lookDepth {
		e.look[k], e.cached = append(e.look[k], int32(at)), e.cached+n
		return
	}
	e.buddy.release(at, at+n)
}

// shorten gives the tail of a held allocation back.
func (e *extent) shorten(at, n int) {
	b := &e.block[at]
	if n < int(b.units) {
		e.buddy.release(at+n, at+int(b.units))
		b.units = uint32(n)
	}
}

// upcoming is the memory of the single unit that the next take will get, if it is
// known; whose it is then shall not be relied upon.
func (e *extent) upcoming(unit int) []byte {
	if e.single.len() <= singles {
		return nil
	}
	at := int(e.single.items[e.single.head]) * unit
	return e.seg.Bytes()[at : at+unit]
}

func (e *extent) flush() {
	for e.single.len() > 0 {
		at := int(e.single.pop())
		e.buddy.release(at, at+1)
	}
	for k := range e.look {
		for _, at := range e.look[k] {
			e.buddy.release(int(at), int(at)+1<<k)
		}
		e.look[k] = e.look[k][:0]
	}
	e.cached = 0
}

func lookOrder(n int) int {
	if n&(n-1) != 0 || n >= 1<<lookOrders {
		return -1
	}
	return bits.TrailingZeros(uint(n))
}

// foreign is an extent of the half that the other side allocates.
type foreign struct {
	number    uint32
	seg       *shm.Segment
	span      span   // of seg, also when that is unmapped
	leases    int    // messages of this process that point into it
	forgotten bool   // to be unmapped with the last lease
	passed    bool   // a whole segment from another companion
	dropped   func() // called with the link's mu held when it is unmapped on a living link
	outlived  func() // called instead once the engine has left the rest of it on its account
}

// newForeign takes seg over.
func newForeign(number uint32, seg *shm.Segment) *foreign {
	return &foreign{number: number, seg: seg, span: spanOf(seg.Bytes())}
}

// slice is the memory that a location of the peer names, once everything about
// it has been checked.
func (f *foreign) slice(l location, unit int) ([]byte, error) {
	size := uint64(f.seg.Size())
	if l.offset%uint64(unit) != 0 || l.offset >= size || l.length > size-l.offset {
		return nil, fmt.Errorf("location %d+%d in an extent of %d bytes with unit %d", l.offset, l.length, size, unit)
	}
	end := l.offset + l.length
	return f.seg.Bytes()[l.offset:end:end], nil
}
