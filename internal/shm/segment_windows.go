package shm

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"

	"berth/session"
)

type platformHandle windows.Handle

const (
	noHandle platformHandle = ^platformHandle(0)
)

// nobody is an access list without anybody: whoever was given a handle could else have the
// system duplicate it with all rights that the list grants the user, or change the list as
// its owner. Handles that have the rights already, and what is duplicated from those, are
// asked for none.
const nobody = "D:P(A;;RC;;;OW)"

func newSegment(size int) (*Segment, error) {
	sa, err := session.Attributes(nobody)
	if err != nil {
		return nil, fmt.Errorf("a section: %w", err)
	}
	h, err := windows.CreateFileMapping(windows.InvalidHandle, sa, windows.PAGE_READWRITE,
		uint32(uint64(size)>>32), uint32(uint64(size)), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: a section of %d bytes: %w", ErrMemory, size, err)
	}
	return openSegment(platformHandle(h), size, ReadWrite)
}

func openSegment(h platformHandle, size int, access Access) (*Segment, error) {
	s := &Segment{handle: h, size: size, access: access}
	if err := s.mapMemory(); err != nil {
		_ = closeHandle(h)
		return nil, err
	}
	return s, nil
}

// mapMemory maps exactly size bytes: a section can't shrink, and one that is
// shorter than announced refuses the map.
func (s *Segment) mapMemory() error {
	access := uint32(windows.FILE_MAP_READ)
	if s.access == ReadWrite {
		access |= windows.FILE_MAP_WRITE
	}
	addr, err := windows.MapViewOfFile(windows.Handle(s.handle), access, 0, 0, uintptr(s.size))
	if err != nil {
		return fmt.Errorf("%w: map %d bytes: %w", ErrMemory, s.size, err)
	}
	// SAFETY: the view is size bytes long, lies outside the Go heap and lives until unmap.
	s.b = unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), s.size)
	return nil
}

func (s *Segment) unmap() error {
	// SAFETY: b begins where mapMemory's view does.
	return windows.UnmapViewOfFile(uintptr(unsafe.Pointer(unsafe.SliceData(s.b))))
}

// seal does nothing: a section knows no seals, and the peer's handle is a
// duplicate with the rights that it was given.
func (s *Segment) seal() error { return nil }

func closeHandle(h platformHandle) error { return windows.CloseHandle(windows.Handle(h)) }

const canFreeze = false

func (s *Segment) freeze() error { return ErrUnsupported }

func (s *Segment) immutable() bool { return false }
