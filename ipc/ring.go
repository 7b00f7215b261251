package ipc

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

const (
	laneHead = 4096
	maxSlots = 1 << 16

	offUpWake, offUpHead, offUpSpace       = 64, 128, 192
	offDownWake, offDownHead, offDownSpace = 256, 320, 384
)

// States of a wake word: how a consumer wants to be told of a new record.
const (
	awake    = 0 // it is looking
	asleep   = 1 // it sleeps in the kernel on the word
	doorbell = 2 // it waits for a doorbell frame
)

// ring is one direction of a lane. Every word of it can be changed by the other
// side at any time: what is read from it is copied first and checked after.
type ring struct {
	slots             []record
	wake, head, space *atomic.Uint32
}

// producer is the writing end. Not safe for concurrent use.
type producer struct {
	ring
	tail uint32 // position of the next record
	seen uint32 // head when it was last read
}

// consumer is the reading end. Not safe for concurrent use.
type consumer struct {
	ring
	next   uint32 // position of the next record
	stated uint32 // head as the producer knows it
}

func laneSize(slots uint32) int { return laneHead + 2*int(slots)*recordSize }

// formatLane writes the head of a fresh lane; a reader in another language finds
// there what it deals with.
func formatLane(b []byte, slots uint32) {
	copy(b, magicLane)
	le.PutUint32(b[8:], Version)
	le.PutUint32(b[12:], slots)
}

// checkLane refuses a lane of another layout.
func checkLane(b []byte) error {
	if string(b[:8]) != magicLane {
		return fmt.Errorf("%w: what came as the lane is none", ErrProtocol)
	}
	if v := le.Uint32(b[8:]); v != Version {
		return otherVersion(v)
	}
	return nil
}

// laneRings finds the two rings of a lane of laneSize(slots) bytes.
func laneRings(b []byte, slots uint32) (up, down ring) {
	half := int(slots) * recordSize
	up = ring{slotsAt(b[laneHead : laneHead+half]), wordAt(b, offUpWake), wordAt(b, offUpHead), wordAt(b, offUpSpace)}
	down = ring{slotsAt(b[laneHead+half : laneHead+2*half]), wordAt(b, offDownWake), wordAt(b, offDownHead), wordAt(b, offDownSpace)}
	return up, down
}

func wordAt(b []byte, off int) *atomic.Uint32 {
	// SAFETY: off is a multiple of 4 inside b, which starts on a cache line and outlives the ring.
	return (*atomic.Uint32)(unsafe.Pointer(&b[off]))
}

func slotsAt(b []byte) []record {
	// SAFETY: b starts on a cache line, is a whole number of records, and outlives the ring.
	return unsafe.Slice((*record)(unsafe.Pointer(&b[0])), len(b)/recordSize)
}

func (r *record) first() *uint64 { return &r[0] }

// room is the number of free slots, at least 1 when push will succeed.
func (p *producer) room() (uint32, error) {
	n := uint32(len(p.slots))
	if used := p.tail - p.seen; used < n {
		return n - used, nil
	}
	p.seen = p.head.Load()
	used := p.tail - p.seen
	if used > n {
		return 0, fmt.Errorf("head %d of a ring of %d whose tail is %d", p.seen, n, p.tail)
	}
	return n - used, nil
}

// push publishes r and answers how the consumer wants to be woken. The caller
// has made sure of room.
//
// The exchange on the first word orders everything before it and is ordered
// before the load of wake: either this side sees that the consumer sleeps, or the
// consumer, looking again after it set wake, sees the record.
func (p *producer) push(r *record) (wake uint32) {
	slot := &p.slots[p.tail&uint32(len(p.slots)-1)]
	used := r.words()
	copy(slot[1:used], r[1:used])
	p.tail++
	atomic.SwapUint64(slot.first(), r[0]|uint64(p.tail))
	if p.wake.Load() == awake {
		return awake
	}
	return p.wake.Swap(awake)
}

// wantSpace announces that this side waits for a slot; room must be asked again after it.
func (p *producer) wantSpace() { p.space.Swap(1) }

// ready says whether a record waits.
func (c *consumer) ready() bool {
	slot := &c.slots[c.next&uint32(len(c.slots)-1)]
	return uint32(atomic.LoadUint64(slot.first())) == c.next+1
}

// pop copies the next record. Each word is loaded once, atomically, so that what
// is checked later is what is used.
func (c *consumer) pop(r *record) bool {
	slot := &c.slots[c.next&uint32(len(c.slots)-1)]
	r[0] = atomic.LoadUint64(&slot[0])
	if uint32(r[0]) != c.next+1 {
		return false
	}
	used := r.words() // from the copy
	for i := 1; i < used; i++ {
		r[i] = atomic.LoadUint64(&slot[i])
	}
	c.next++
	return true
}

// rise says that this side is looking. The exchange would take the word's cache
// line away from the producer, which reads it with every record: none is needed when
// nothing changes, for only the consumer ever sets it to something else. It answers
// what the word was.
func (c *consumer) rise() uint32 {
	if c.wake.Load() == awake {
		return awake
	}
	return c.wake.Swap(awake)
}

// advance gives the copied slots back and says whether the producer waits for them.
func (c *consumer) advance() (wanted bool) {
	if c.stated == c.next {
		return false
	}
	c.stated = c.next
	c.head.Swap(c.next)
	return c.space.Load() != 0 && c.space.Swap(0) != 0
}
