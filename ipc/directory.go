package ipc

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"berth/internal/shm"
)

const (
	directoryHead     = 4096
	directoryEntry    = 128
	directoryCapacity = 4096
	directorySize     = directoryHead + directoryCapacity*directoryEntry
	minUnit           = 2048

	entryFree       = 0
	entryRegistered = 1
	entryLeaving    = 2
)

// directory is the list of who is registered. The engine writes it; companions
// have a map that can't be made writable.
type directory struct {
	seg *shm.Segment

	mu   sync.Mutex
	used map[uint32]bool
	next uint32 // where the search for a free entry starts: an entry rests before it is used again
	live uint32
}

func newDirectory(pid int) (*directory, error) {
	seg, err := shm.NewSegment(directorySize)
	if err != nil {
		return nil, fmt.Errorf("the engine's directory: %w", err)
	}
	b := seg.Bytes()
	copy(b, magicDirectory)
	le.PutUint32(b[8:], Version)
	le.PutUint32(b[12:], directoryCapacity)
	le.PutUint32(b[20:], uint32(pid))
	if err := seg.Seal(); err != nil {
		_ = seg.Close()
		return nil, err
	}
	return &directory{seg: seg, used: map[uint32]bool{}}, nil
}

// word64 is an aligned word of shared memory.
func word64(b []byte, off int) *atomic.Uint64 {
	// SAFETY: off is a multiple of 8 inside b, which starts on a page and outlives the word.
	return (*atomic.Uint64)(unsafe.Pointer(&b[off]))
}

// reserve takes an entry without showing anything; false when all are in use.
func (d *directory) reserve() (index uint32, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range uint32(directoryCapacity) {
		index = (d.next + i) % directoryCapacity
		if !d.used[index] {
			d.used[index], d.next = true, index+1
			return index, true
		}
	}
	return 0, false
}

// generation is the number that the user of entry index will have.
func (d *directory) generation(index uint32) uint32 {
	return wordAt(d.entry(index), 8).Load() + 1
}

func (d *directory) entry(index uint32) []byte {
	off := directoryHead + int(index)*directoryEntry
	return d.seg.Bytes()[off : off+directoryEntry]
}

// change rewrites an entry under its sequence and counts the change.
func (d *directory) change(index uint32, write func(e []byte)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entry(index)
	wordAt(e, 0).Add(1)
	write(e)
	wordAt(e, 0).Add(1)
	wordAt(d.seg.Bytes(), 24).Store(d.live)
	wordAt(d.seg.Bytes(), 16).Add(1)
}

// publish shows a companion.
func (d *directory) publish(index uint32, name string, pid int, block int64) {
	d.change(index, func(e []byte) {
		d.live++
		wordAt(e, 8).Add(1)
		wordAt(e, 12).Store(uint32(pid))
		word64(e, 16).Store(uint64(block))
		word64(e, 24).Store(uint64(time.Now().UnixNano()))
		word64(e, 40).Store(uint64(len(name)))
		var padded [maxName]byte
		copy(padded[:], name)
		for i := 0; i < maxName; i += 8 {
			word64(e, 48+i).Store(le.Uint64(padded[i:]))
		}
		wordAt(e, 4).Store(entryRegistered)
	})
}

func (d *directory) resize(index uint32, block int64) {
	d.change(index, func(e []byte) { word64(e, 16).Store(uint64(block)) })
}

// free takes an entry off the list.
func (d *directory) free(index uint32) {
	d.change(index, func(e []byte) {
		if wordAt(e, 4).Swap(entryFree) != entryFree {
			d.live--
		}
		delete(d.used, index)
	})
}

// Entry is a registered companion as the directory shows it.
type Entry struct {
	Name       string
	PID        int
	Generation uint32
	BlockBytes int64
	Registered time.Time
}

// readDirectory copies every registered entry of a mapped directory.
func readDirectory(b []byte) []Entry {
	var all []Entry
	for i := range directoryCapacity {
		off := directoryHead + i*directoryEntry
		if e, ok := readEntry(b[off : off+directoryEntry]); ok {
			all = append(all, e)
		}
	}
	return all
}

// readEntry copies one entry; it gives up on one that keeps changing.
func readEntry(b []byte) (Entry, bool) {
	for range 100 {
		seq := wordAt(b, 0).Load()
		if wordAt(b, 4).Load() != entryRegistered {
			return Entry{}, false
		}
		var name [maxName]byte
		for i := 0; i < maxName; i += 8 {
			le.PutUint64(name[i:], word64(b, 48+i).Load())
		}
		e := Entry{
			PID: int(wordAt(b, 12).Load()), Generation: wordAt(b, 8).Load(), BlockBytes: int64(word64(b, 16).Load()),
			Registered: time.Unix(0, int64(word64(b, 24).Load())),
			Name:       string(bytes.TrimRight(name[:], "\x00")),
		}
		if seq&1 == 0 && wordAt(b, 0).Load() == seq {
			return e, true
		}
	}
	return Entry{}, false
}
