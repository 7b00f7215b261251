package shm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

type platformHandle int

const (
	noHandle  platformHandle = -1
	sizeSeals                = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
)

func newSegment(size int) (*Segment, error) {
	fd, err := unix.MemfdCreate("berth", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("%w: memfd_create: %w", ErrMemory, err)
	}
	s := &Segment{handle: platformHandle(fd), size: size}
	if err := errors.Join(s.commit(), s.mapMemory()); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return s, nil
}

// commit takes the pages now: a sparse file would kill the first writer with
// SIGBUS when memory is short.
func (s *Segment) commit() error {
	fd := int(s.handle)
	if err := retry(func() error { return unix.Fallocate(fd, 0, 0, int64(s.size)) }); err != nil {
		return fmt.Errorf("%w: %d bytes: %w", ErrMemory, s.size, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sizeSeals); err != nil {
		return fmt.Errorf("seal the size of a segment: %w", err)
	}
	return nil
}

// retry repeats an interrupted call: the runtime's preemption signals interrupt
// a long fallocate again and again.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func openSegment(h platformHandle, size int, access Access) (*Segment, error) {
	s := &Segment{handle: h, size: size, access: access}
	err := s.check()
	if err == nil {
		err = s.mapMemory()
	}
	if err != nil {
		_ = closeHandle(h)
		return nil, err
	}
	return s, nil
}

// check refuses a handle whose memory could vanish under the map.
func (s *Segment) check() error {
	seals, err := unix.FcntlInt(uintptr(s.handle), unix.F_GET_SEALS, 0)
	if err != nil {
		return fmt.Errorf("%w: its seals can't be read: %w", ErrSegment, err)
	}
	if seals&sizeSeals != sizeSeals {
		return fmt.Errorf("%w: its size is not sealed (seals %#x)", ErrSegment, seals)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(s.handle), &st); err != nil {
		return fmt.Errorf("%w: %w", ErrSegment, err)
	}
	if st.Size != int64(s.size) {
		return fmt.Errorf("%w: %d bytes long, announced with %d", ErrSegment, st.Size, s.size)
	}
	return nil
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

func (s *Segment) seal() error {
	_, err := unix.FcntlInt(uintptr(s.handle), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE)
	if err != nil {
		return fmt.Errorf("seal a segment: %w", err)
	}
	return nil
}

// Sealed says whether no new writable map of the segment can be made.
func (s *Segment) Sealed() bool {
	seals, err := unix.FcntlInt(uintptr(s.handle), unix.F_GET_SEALS, 0)
	return err == nil && seals&unix.F_SEAL_FUTURE_WRITE != 0
}

func closeHandle(h platformHandle) error { return unix.Close(int(h)) }

const canFreeze = true

func (s *Segment) freeze() error {
	if s.b != nil {
		if err := s.unmap(); err != nil {
			return err
		}
		s.b = nil
	}
	_, err := unix.FcntlInt(uintptr(s.handle), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
	if errors.Is(err, unix.EBUSY) {
		return ErrBusy
	}
	return err
}

func (s *Segment) immutable() bool {
	seals, err := unix.FcntlInt(uintptr(s.handle), unix.F_GET_SEALS, 0)
	return err == nil && seals&unix.F_SEAL_WRITE != 0
}
