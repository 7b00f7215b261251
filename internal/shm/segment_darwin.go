package shm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

type platformHandle int

const (
	noHandle platformHandle = -1
)

// newSegment makes a named object and takes its name away at once: only two
// descriptors are left, one of them for who may only read. An object that was unlinked
// can't be opened again, and its size can be set only once.
func newSegment(size int) (*Segment, error) {
	name := append([]byte("/b"+rand.Text()[:20]), 0)
	fd, err := shmOpen(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return nil, err
	}
	reader, err := shmOpen(name, unix.O_RDONLY)
	// SAFETY: name is NUL-terminated and the call keeps it alive.
	//nolint:staticcheck // without cgo there are no wrappers of the system library
	_, _, _ = unix.Syscall(unix.SYS_SHM_UNLINK, uintptr(unsafe.Pointer(&name[0])), 0, 0)
	if err != nil {
		return nil, errors.Join(err, closeHandle(fd))
	}
	if err := unix.Ftruncate(int(fd), int64(size)); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %d bytes: %w", ErrMemory, size, err), closeHandle(fd), closeHandle(reader))
	}
	s, err := openSegment(fd, size, ReadWrite)
	if err != nil {
		return nil, errors.Join(err, closeHandle(reader))
	}
	s.reader = &reader
	return s, nil
}

// shmOpen opens the object of that NUL-terminated name for this user.
func shmOpen(name []byte, flags uintptr) (platformHandle, error) {
	// SAFETY: name is NUL-terminated and the call keeps it alive.
	//nolint:staticcheck // as above
	fd, _, errno := unix.Syscall(unix.SYS_SHM_OPEN, uintptr(unsafe.Pointer(&name[0])), flags, 0o600)
	if errno != 0 {
		return noHandle, fmt.Errorf("%w: shm_open: %w", ErrMemory, errno)
	}
	unix.CloseOnExec(int(fd))
	return platformHandle(fd), nil
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

// seal does nothing: the system has no seals, and who may only read has a descriptor
// for that.
func (s *Segment) seal() error { return nil }

func closeHandle(h platformHandle) error { return unix.Close(int(h)) }

const canFreeze = false

func (s *Segment) freeze() error { return ErrUnsupported }

func (s *Segment) immutable() bool { return false }
