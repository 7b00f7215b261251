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
