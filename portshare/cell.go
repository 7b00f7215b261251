package portshare

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"
)

const (
	recordWords  = recordSize / 4
	sequenceWord = offSequence / 4
)

// cell is the record in memory that other processes write, guarded by a sequence
// lock. It is accessed by 32-bit atomics only, so that no word is ever half old.
type cell struct {
	words *[recordWords]uint32
}

func newCell(b []byte) (cell, error) {
	if len(b) < recordSize {
		return cell{}, fmt.Errorf("%w: %d bytes, this program needs %d", ErrVersion, len(b), recordSize)
	}
	// SAFETY: b holds the whole array and is aligned: it begins a page (or a
	// heap object of uint32s in tests). The owner of the cell keeps b alive.
	return cell{words: (*[recordWords]uint32)(unsafe.Pointer(unsafe.SliceData(b)))}, nil
}

// sequence is the word that waiters sleep on.
func (c cell) sequence() *uint32 { return &c.words[sequenceWord] }

// load copies the record and tells the sequence it belongs to. It answers false
// while a write is under way.
//
// Why the copy is whole when the two sequences agree: a writer makes the sequence
// odd before its first word and even after its last one, and Go's atomics are
// sequentially consistent. Had one of our words been new and another old, a write
// lay between our two loads of the sequence, which would differ. (They agree again
// after 2^31 writes; the checksum stands behind that.)
func (c cell) load() (r raw, sequence uint32, ok bool) {
	sequence = atomic.LoadUint32(c.sequence())
	if sequence%2 != 0 {
		return r, sequence, false
	}
	r = c.copy()
	return r, sequence, atomic.LoadUint32(c.sequence()) == sequence
}

// copy takes the words as they are, consistent or not.
func (c cell) copy() (r raw) {
	for i := range c.words {
		if i != sequenceWord {
			binary.NativeEndian.PutUint32(r[4*i:], atomic.LoadUint32(&c.words[i]))
		}
	}
	return r
}

// store replaces the record and returns its new, even sequence. The caller has the
// gate, so there is no other writer; but one may have died in the middle, which
// leaves the sequence odd. Then the readers are locked out already, and this write
// lets them in again.
//
// Read-modify-write atomics on the sequence, not plain stores: they also order the
// wake-up that follows against a waiter's last look before it sleeps.
func (c cell) store(r raw) uint32 {
	if atomic.LoadUint32(c.sequence())%2 == 0 {
		atomic.AddUint32(c.sequence(), 1)
	}
	for i := range c.words {
		if i != sequenceWord {
			atomic.StoreUint32(&c.words[i], binary.NativeEndian.Uint32(r[4*i:]))
		}
	}
	return atomic.AddUint32(c.sequence(), 1)
}
