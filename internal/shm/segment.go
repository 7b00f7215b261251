package shm

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// maxSegment keeps sizes far from overflow: 1 TiB, or 1 GiB where an int has 32 bits.
const maxSegment = 1 << (30 + 10*(^uint(0)>>63))

// Errors of anonymous segments.
var (
	// ErrMemory means that the system refused the memory before any of it was used.
	ErrMemory = errors.New("not enough shared memory")
	// ErrSegment means that a foreign handle is not the segment it was announced to be.
	ErrSegment = errors.New("not a usable segment")
	// ErrBusy means that somebody can still write to a segment that shall be immutable.
	ErrBusy = errors.New("the segment is still mapped for writing")
	// ErrUnsupported means that the system has no such operation.
	ErrUnsupported = errors.New("not possible on this system")
)

// Access says what a mapping may do.
type Access int

const (
	// ReadWrite maps for reading and writing.
	ReadWrite Access = iota
	// ReadOnly maps for reading; the system refuses to make the map writable.
	ReadOnly
)

// Segment is anonymous shared memory mapped into this process: it has no name,
// is reached only through its handle, and is gone with the last handle and map.
// Its memory is committed before NewSegment returns, so that touching it never
// fails, and its size can't change. A Segment may be used by many goroutines;
// nobody may touch Bytes after Close.
type Segment struct {
	once   sync.Once
	b      []byte
	size   int
	access Access
	handle platformHandle
	reader *platformHandle // for ReadHandle, where rights belong to the descriptor
}

// NewSegment makes a zeroed segment of size bytes (rounded up to whole pages)
// and maps it for writing.
func NewSegment(size int) (*Segment, error) {
	if size <= 0 || size > maxSegment {
		return nil, fmt.Errorf("%w: a segment of %d bytes", ErrSegment, size)
	}
	return newSegment(roundPage(size))
}

// HeapSegment is a segment of ordinary memory that can't be shared with another
// process. The race detector sees it, as it does not see mapped memory: tests
// run the protocols of shared memory over it.
func HeapSegment(size int) *Segment {
	size = roundPage(size)
	return &Segment{b: alignedBytes(size), size: size, handle: noHandle}
}

// Alias is another Segment over the same heap memory, for the other end of a
// protocol under test.
func (s *Segment) Alias() *Segment {
	return &Segment{b: s.b, size: s.size, handle: noHandle}
}

// OpenSegment maps the segment behind handle, which it owns from now on, also
// when it fails. The handle must be of exactly size bytes and, where the system
// can tell, can never change its size.
func OpenSegment(handle uintptr, size int, access Access) (*Segment, error) {
	if size <= 0 || size > maxSegment || size != roundPage(size) {
		_ = closeHandle(platformHandle(handle))
		return nil, fmt.Errorf("%w: announced with %d bytes", ErrSegment, size)
	}
	return openSegment(platformHandle(handle), size, access)
}

// Bytes is the mapped memory.
func (s *Segment) Bytes() []byte { return s.b }

// Size is the length of the segment in bytes, a multiple of the page size.
func (s *Segment) Size() int { return s.size }

// Handle is what another process needs to map the segment (a descriptor or a
// handle of this process); it stays owned by the segment.
func (s *Segment) Handle() uintptr { return uintptr(s.handle) }

// ReadHandle is Handle for who may only read: on macOS a descriptor that allows no
// more. On Windows the rights of the duplicate decide, on Linux Seal and Freeze do.
func (s *Segment) ReadHandle() uintptr {
	if s.reader != nil {
		return uintptr(*s.reader)
	}
	return s.Handle()
}

// Seal refuses every further writable map of the segment, by anybody; maps that
// exist go on writing. For good, unless it is frozen later. Where the system has no such seal it does
// nothing: there whoever got Handle and not ReadHandle can go on making writable maps.
func (s *Segment) Seal() error {
	if s.handle == noHandle {
		return nil
	}
	return s.seal()
}

// Close unmaps the memory and closes the handle.
func (s *Segment) Close() error {
	var err error
	s.once.Do(func() {
		if s.handle == noHandle {
			s.b = nil
			return
		}
		if s.b != nil {
			err = s.unmap()
		}
		err = errors.Join(err, closeHandle(s.handle))
		if s.reader != nil {
			err = errors.Join(err, closeHandle(*s.reader))
		}
		s.b = nil
	})
	return err
}

func roundPage(size int) int {
	page := os.Getpagesize()
	return (size + page - 1) / page * page
}

// Freeze gives up this process's own map and makes the memory immutable for
// everybody and for good. ErrBusy means that another process can still write to it
// through a map that it has; ErrUnsupported that the system has no such seal.
func (s *Segment) Freeze() error { return s.freeze() }

// Immutable says whether nobody can change the memory any more.
func (s *Segment) Immutable() bool { return s.immutable() }

// CanFreeze says whether this system can make a segment immutable.
const CanFreeze = canFreeze
