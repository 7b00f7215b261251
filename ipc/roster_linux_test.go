package ipc

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheDirectoryCantBeWritten tries every way that a companion has.
func TestTheDirectoryCantBeWritten(t *testing.T) {
	e := testEngine(t, Options{})
	c := testClient(t, e, "a")
	seg := c.roster.seg
	fd := int(seg.Handle())
	if b, err := unix.Mmap(fd, 0, seg.Size(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		_ = unix.Munmap(b)
		t.Error("it can be mapped for writing")
	}
	if err := unix.Mprotect(seg.Bytes(), unix.PROT_READ|unix.PROT_WRITE); err == nil {
		t.Error("its map can be made writable")
	}
	if _, err := unix.Pwrite(fd, []byte{1}, 0); err == nil {
		t.Error("it can be written to")
	}
	if err := unix.Ftruncate(fd, 0); err == nil {
		t.Error("it can be cut off")
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096); err == nil {
		t.Error("a hole can be punched into it")
	}
	if again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
		if b, err := unix.Mmap(again, 0, seg.Size(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
			_ = unix.Munmap(b)
			t.Error("it can be opened again and mapped for writing")
		}
		_ = unix.Close(again)
	}
}
