package ipc

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestWhatOthersReadCantBeWritten tries every way that a companion has.
func TestWhatOthersReadCantBeWritten(t *testing.T) {
	e := testEngine(t, Options{})
	c, ctx := testClient(t, e, "a"), testContext(t)
	if err := c.Retain(ctx, "kept", make([]byte, 1<<16)); err != nil {
		t.Fatal(err)
	}
	m, err := c.Fetch(ctx, "kept")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	readable := map[string]uintptr{"the directory": c.roster.seg.Handle()}
	c.link.mu.Lock()
	for _, f := range c.link.theirs {
		if f.passed {
			readable["a retained payload"] = f.seg.Handle()
		}
	}
	c.link.mu.Unlock()
	if len(readable) != 2 {
		t.Fatal("nothing was passed")
	}
	for what, fd := range readable {
		if b, err := unix.Mmap(int(fd), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
			_ = unix.Munmap(b)
			t.Errorf("%s can be mapped for writing", what)
		}
		b, err := unix.Mmap(int(fd), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE); err == nil {
			t.Errorf("a map of %s can be made writable", what)
		}
		_ = unix.Munmap(b)
	}
}
