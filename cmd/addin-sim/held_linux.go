package main

import (
	"bytes"
	"fmt"
	"os"
)

// held is what this process holds of the kernel.
type held struct{ descriptors, shared int }

// holdings counts the open descriptors and the maps of shared memory.
func holdings() held {
	var h held
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		h.descriptors = len(fds)
	}
	if maps, err := os.ReadFile("/proc/self/maps"); err == nil {
		h.shared = bytes.Count(maps, []byte("memfd:"))
	}
	return h
}

func (h held) since(before held) held {
	return held{h.descriptors - before.descriptors, h.shared - before.shared}
}

// leaks allows for the few descriptors that the runtime opens when it first
// waits for something.
func (h held) leaks() bool { return h.descriptors > 8 || h.shared > 0 }

func (h held) String() string { return fmt.Sprintf("%d, %d", h.descriptors, h.shared) }
