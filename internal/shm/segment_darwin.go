package shm

import (
	"crypto/rand"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

type platformHandle int

const (
	noHandle platformHandle = -1
)

// newSegment makes a named object and takes its name away at once: only the
// descriptor is left. An object that was unlinked can't be opened again, and its
// size can be set only once.
func newSegment(size int) (*Segment, error) {
	name := append([]byte("/b"+rand.Text()[:20]), 0)
	// SAFETY: name is NUL-terminated and the call keeps it alive.
	//nolint:staticcheck // without cgo there are no wrappers of the system library
	fd, _, errno := unix.Syscall(unix.SYS_SHM_OPEN, uintptr(unsafe.Pointer(&name[0])), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if errno != 0 {
		return nil, fmt.Errorf("%w: shm_open: %w", ErrMemory, errno)
	}
	// SAFETY: as above.
	//nolint:staticcheck // as above
	_, _, _ = unix.Syscall(unix.SYS_SHM_UNLINK, uintptr(unsafe.Pointer(&name[0])), 0, 0)
	unix.CloseOnExec(int(fd))
	if err := unix.Ftruncate(int(fd), int64(size)); err != nil {
		_ = unix.Close(int(fd))
		return nil, fmt.Errorf("%w: %d bytes: %w", ErrMemory, size, err)
	}
	return openSegment(platformHandle(fd), size, ReadWrite)
}

func openSegment(h platformHandle, size int, access Access) (*Segment, error) {
	s := &Segment{handle: h, size: size, access: access}
	var st unix.Stat_t
	err := unix.Fstat(int(h), &st)
	if err == nil && st.Size < int64(size) {
		err = fmt.Errorf("%w: %d bytes long, announced with %d", ErrSegment, st.Size, size)
	}
	if err == nil {
		err = s.mapMemory()
	}
	if err != nil {
		_ = closeHandle(h)
		return nil, err
	}
	return s, nil
}

func (s *Segment) mapMemory() error {
	prot := unix.PROT_READ
	if s.access == ReadWrite {
		prot |= unix.PROT_WRITE
	}
	b, err := unix.Mmap(int(s.handle), 0, s.size, prot, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("%w: map %d bytes: %w", ErrMemory, s.size, err)
	}
	s.b = b
	return nil
}

func (s *Segment) unmap() error { return unix.Munmap(s.b) }

// seal does nothing: the system has no seals.
func (s *Segment) seal() error { return nil }

func closeHandle(h platformHandle) error { return unix.Close(int(h)) }

const canFreeze = false

func (s *Segment) freeze() error { return ErrUnsupported }

func (s *Segment) immutable() bool { return false }
