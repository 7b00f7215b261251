package shm

import (
	"testing"

	"golang.org/x/sys/windows"
)

func duplicate(t *testing.T, s *Segment) uintptr { return duplicateWith(t, s, 0) }

func duplicateWith(t *testing.T, s *Segment, access uint32) uintptr {
	t.Helper()
	options := uint32(0)
	if access == 0 {
		options = windows.DUPLICATE_SAME_ACCESS
	}
	var h windows.Handle
	self := windows.CurrentProcess()
	if err := windows.DuplicateHandle(self, windows.Handle(s.Handle()), self, &h, access, false, options); err != nil {
		t.Fatal(err)
	}
	return uintptr(h)
}

func TestReadOnlyHandleRefusesWriters(t *testing.T) {
	s, err := NewSegment(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := OpenSegment(duplicateWith(t, s, windows.FILE_MAP_READ), s.Size(), ReadWrite); err == nil {
		t.Fatal("a writable view through a handle for reading")
	}
	r, err := OpenSegment(duplicateWith(t, s, windows.FILE_MAP_READ), s.Size(), ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	s.Bytes()[3] = 9
	if r.Bytes()[3] != 9 {
		t.Fatal("not shared")
	}
}
