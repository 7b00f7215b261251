package ipc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// blockBytes is the memory of all segments that this process has a handle of.
func blockBytes(t *testing.T) (total int64) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for _, d := range fds {
		fd, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		name, err := os.Readlink("/proc/self/fd/" + d.Name())
		var st unix.Stat_t
		if err != nil || !strings.HasPrefix(name, "/memfd:berth") || unix.Fstat(fd, &st) != nil || seen[st.Ino] {
			continue
		}
		seen[st.Ino] = true
		total += st.Blocks * 512
	}
	return total
}

// shmem is what the kernel says that shared memory takes, of all processes.
func shmem(t *testing.T) (bytes int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "Shmem:")
	if _, err := fmt.Sscan(rest, &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes << 10
}

// TestIdleMemoryGoesBackToTheSystem sends 96 MiB there and back, and looks at what
// the kernel says about the memory itself. Shmem is that of the whole machine: others
// use it too, so it is only told of.
func TestIdleMemoryGoesBackToTheSystem(t *testing.T) {
	const size = 96 << 20
	e := testEngine(t, Options{Budget: 1 << 30})
	e.Handle("echo", echo)
	c, ctx := testClient(t, e, "a", Sizes(1<<20, 1<<20)), testContext(t)
	s, err := c.Open(ctx, "controller/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	before, machine := blockBytes(t), shmem(t)
	p, err := s.Alloc(ctx, size)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Call(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	full, machineFull := blockBytes(t), shmem(t)
	if full < before+2*size {
		t.Fatalf("%d bytes before, %d with %d on the way there and back", before, full, size)
	}
	m.Release()
	waitFor(t, func() bool { return blockBytes(t) == before })
	for range 50 { // the kernel adds it up about once a second
		if shmem(t) < machineFull-size {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("segments %d → %d → %d MiB; Shmem of the machine %d → %d → %d MiB", before>>20, full>>20, before>>20,
		machine>>20, machineFull>>20, shmem(t)>>20)
}
