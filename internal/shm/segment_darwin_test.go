package shm

import (
	"testing"

	"golang.org/x/sys/unix"
)

func duplicate(t *testing.T, s *Segment) uintptr {
	t.Helper()
	fd, err := unix.Dup(int(s.Handle()))
	if err != nil {
		t.Fatal(err)
	}
	return uintptr(fd)
}

// TestReadOnlyDescriptorRefusesWriters: neither a new map nor an old one of who got
// ReadHandle can be made writable.
func TestReadOnlyDescriptorRefusesWriters(t *testing.T) {
	s, err := NewSegment(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	passed := func() uintptr {
		fd, err := unix.FcntlInt(s.ReadHandle(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return uintptr(fd)
	}
	if _, err := OpenSegment(passed(), s.Size(), ReadWrite); err == nil {
		t.Fatal("a writable map through a descriptor for reading")
	}
	r, err := OpenSegment(passed(), s.Size(), ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := unix.Mprotect(r.Bytes(), unix.PROT_READ|unix.PROT_WRITE); err == nil {
		t.Fatal("the map was made writable")
	}
	s.Bytes()[3] = 9
	if r.Bytes()[3] != 9 {
		t.Fatal("not shared")
	}
}
