package ipc

import (
	"cmp"
	"fmt"
	"slices"
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

// Offsets in the head of the directory and in an entry.
const (
	dirMagic    = 0
	dirVersion  = 8
	dirCapacity = 12
	dirChanges  = 16
	dirPID      = 20
	dirLive     = 24

	entrySequence   = 0
	entryState      = 4
	entryGeneration = 8
	entryPID        = 12
	entryBlock      = 16
	entrySince      = 24
	entryLength     = 40
	entryName       = 48
)

// directory is the list of who is registered. The engine writes it; companions
// have a map that can't be made writable.
type directory struct {
	seg  *shm.Segment
	news chan struct{} // told after changes has moved

	mu     sync.Mutex
	closed bool
	used   map[uint32]bool
	next   uint32 // where the search for a free entry starts: an entry rests before it is used again
	live   uint32
	count  uint32 // changes, as the head shows it
}

func newDirectory(pid int) (*directory, error) {
	seg, err := shm.NewSegment(directorySize)
	if err != nil {
		return nil, fmt.Errorf("the engine's directory: %w", err)
	}
	b := seg.Bytes()
	copy(b[dirMagic:], magicDirectory)
	le.PutUint32(b[dirVersion:], Version)
	le.PutUint32(b[dirCapacity:], directoryCapacity)
	le.PutUint32(b[dirPID:], uint32(pid))
	if err := seg.Seal(); err != nil {
		_ = seg.Close()
		return nil, err
	}
	return &directory{seg: seg, news: make(chan struct{}, 1), used: map[uint32]bool{}}, nil
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
	return wordAt(d.entry(index), entryGeneration).Load() + 1
}

func (d *directory) entry(index uint32) []byte {
	off := directoryHead + int(index)*directoryEntry
	return d.seg.Bytes()[off : off+directoryEntry]
}

// changes counts who came and who left. Whoever mapped the directory sees as many.
func (d *directory) changes() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// change rewrites an entry and counts that, for those who watch.
func (d *directory) change(index uint32, write func(e []byte)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	write(d.entry(index))
	d.count++
	wordAt(d.seg.Bytes(), dirLive).Store(d.live)
	wordAt(d.seg.Bytes(), dirChanges).Store(d.count)
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// publish shows a companion. Only here does an entry change in more than one word:
// the sequence tells readers.
func (d *directory) publish(index uint32, name string, pid int, block int64) {
	d.change(index, func(e []byte) {
		d.live++
		wordAt(e, entrySequence).Add(1)
		wordAt(e, entryGeneration).Add(1)
		wordAt(e, entryPID).Store(uint32(pid))
		word64(e, entryBlock).Store(uint64(block))
		word64(e, entrySince).Store(uint64(time.Now().UnixNano()))
		word64(e, entryLength).Store(uint64(len(name)))
		var padded [maxName]byte
		copy(padded[:], name)
		for i := 0; i < maxName; i += 8 {
			word64(e, entryName+i).Store(le.Uint64(padded[i:]))
		}
		wordAt(e, entryState).Store(entryRegistered)
		wordAt(e, entrySequence).Add(1)
	})
}

// resize shows the size of a block. Nobody is told: it is looked up by those who
// want to know.
func (d *directory) resize(index uint32, block int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	word64(d.entry(index), entryBlock).Store(uint64(block))
}

// retire shows that the companion of that generation is dead and being cleared up
// after. Its entry may have been freed already.
func (d *directory) retire(index, generation uint32) {
	d.change(index, func(e []byte) {
		if wordAt(e, entryGeneration).Load() == generation && wordAt(e, entryState).CompareAndSwap(entryRegistered, entryLeaving) {
			d.live--
		}
	})
}

// free takes an entry off the list.
func (d *directory) free(index uint32) {
	d.change(index, func(e []byte) {
		if wordAt(e, entryState).Swap(entryFree) == entryRegistered {
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

// close ends the directory and with it the news.
func (d *directory) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	close(d.news)
	return d.seg.Close()
}

// checkDirectory refuses a directory of another layout.
func checkDirectory(b []byte) error {
	if len(b) < directorySize || string(b[dirMagic:dirMagic+8]) != magicDirectory {
		return fmt.Errorf("%w: what came as the directory is none", ErrProtocol)
	}
	if v := le.Uint32(b[dirVersion:]); v != Version {
		return otherVersion(v)
	}
	if n := le.Uint32(b[dirCapacity:]); n != directoryCapacity {
		return fmt.Errorf("%w: a directory of %d entries", ErrProtocol, n)
	}
	return nil
}

// readDirectory copies every registered entry of a mapped directory, by name.
func readDirectory(b []byte) []Entry {
	var all []Entry
	for i := range directoryCapacity {
		off := directoryHead + i*directoryEntry
		if e, ok := readEntry(b[off : off+directoryEntry]); ok {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// readEntry copies one entry. One that is being written counts as not there yet:
// changes moves after that, and whoever watches reads again.
func readEntry(b []byte) (Entry, bool) {
	seq := wordAt(b, entrySequence).Load()
	if seq&1 != 0 || wordAt(b, entryState).Load() != entryRegistered {
		return Entry{}, false
	}
	var name [maxName]byte
	for i := 0; i < maxName; i += 8 {
		le.PutUint64(name[i:], word64(b, entryName+i).Load())
	}
	e := Entry{
		Name: string(name[:min(word64(b, entryLength).Load(), maxName)]),
		PID:  int(wordAt(b, entryPID).Load()), Generation: wordAt(b, entryGeneration).Load(),
		BlockBytes: int64(word64(b, entryBlock).Load()),
		Registered: time.Unix(0, int64(word64(b, entrySince).Load())),
	}
	return e, wordAt(b, entrySequence).Load() == seq
}
