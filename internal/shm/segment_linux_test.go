package shm

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func duplicate(t *testing.T, s *Segment) uintptr {
	t.Helper()
	fd, err := unix.FcntlInt(s.Handle(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return uintptr(fd)
}

func TestNobodyCanTakeTheMemoryAway(t *testing.T) {
	s, err := NewSegment(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	fd := int(s.Handle())
	if err := unix.Ftruncate(fd, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("shrinking: %v", err)
	}
	if err := unix.Ftruncate(fd, 2<<20); !errors.Is(err, unix.EPERM) {
		t.Errorf("growing: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Blocks*512 < 1<<20 {
		t.Errorf("%d of %d bytes are committed, %v", st.Blocks*512, 1<<20, err)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("not close-on-exec: %#x, %v", flags, err)
	}
}

func TestSealRefusesNewWriters(t *testing.T) {
	s, err := NewSegment(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if s.Sealed() {
		t.Fatal("sealed from the start")
	}
	if err := s.Seal(); err != nil || !s.Sealed() {
		t.Fatal(err)
	}
	s.Bytes()[5] = 7 // the old map goes on
	if _, err := OpenSegment(duplicate(t, s), s.Size(), ReadWrite); err == nil {
		t.Fatal("a new writable map was made")
	}
	if _, err := unix.Pwrite(int(s.Handle()), []byte{1}, 0); !errors.Is(err, unix.EPERM) {
		t.Fatalf("pwrite: %v", err)
	}
	if err := unix.Fallocate(int(s.Handle()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096); !errors.Is(err, unix.EPERM) {
		t.Fatalf("punching a hole: %v", err)
	}
	r, err := OpenSegment(duplicate(t, s), s.Size(), ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if r.Bytes()[5] != 7 {
		t.Fatal("not shared")
	}
	if err := unix.Mprotect(r.Bytes(), unix.PROT_READ|unix.PROT_WRITE); err == nil {
		t.Fatal("mprotect made it writable")
	}
}

func TestOpenSegmentDistrusts(t *testing.T) {
	unsealed, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(unsealed, 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSegment(uintptr(unsealed), 4096, ReadWrite); !errors.Is(err, ErrSegment) {
		t.Errorf("a memfd that can shrink: %v", err)
	}
	s, err := NewSegment(4096)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := OpenSegment(duplicate(t, s), 8192, ReadWrite); !errors.Is(err, ErrSegment) {
		t.Errorf("shorter than announced: %v", err)
	}
	p := make([]int, 2)
	if err := unix.Pipe2(p, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(p[1]) }()
	if _, err := OpenSegment(uintptr(p[0]), 4096, ReadOnly); !errors.Is(err, ErrSegment) {
		t.Errorf("a pipe: %v", err)
	}
}
