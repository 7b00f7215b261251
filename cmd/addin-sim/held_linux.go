package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// held is what this process holds of the kernel.
type held struct {
	Descriptors int `json:"descriptors"`
	Shared      int `json:"maps"` // of shared memory
}

// holdings counts the open descriptors and the maps of shared memory.
func holdings() held {
	var h held
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		h.Descriptors = len(fds)
	}
	if maps, err := os.ReadFile("/proc/self/maps"); err == nil {
		h.Shared = bytes.Count(maps, []byte("memfd:"))
	}
	return h
}

func (h held) since(before held) held {
	return held{h.Descriptors - before.Descriptors, h.Shared - before.Shared}
}

// leaks allows for nothing: what the runtime opens when it first waits for something
// is there before an engine listens.
func (h held) leaks() bool { return h.Descriptors > 0 || h.Shared > 0 }

func (h held) String() string { return fmt.Sprintf("%d, %d", h.Descriptors, h.Shared) }

// used is how much of the machine this process uses, in bytes.
type used struct {
	shared  int64 // pages of its shared memory
	private int64 // resident beside that
	threads int
}

func usage() (u used) {
	fds, _ := os.ReadDir("/proc/self/fd") // without it there is nothing to add up
	for _, fd := range fds {
		path := "/proc/self/fd/" + fd.Name()
		var st unix.Stat_t
		if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, "/memfd:") && unix.Stat(path, &st) == nil {
			u.shared += st.Blocks * 512
		}
	}
	status, _ := os.ReadFile("/proc/self/status") // as above
	for line := range strings.Lines(string(status)) {
		var n int64
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &n); err == nil {
			u.private += n << 10
		}
		if _, err := fmt.Sscanf(line, "Threads: %d", &n); err == nil {
			u.threads = int(n)
		}
	}
	return u
}
