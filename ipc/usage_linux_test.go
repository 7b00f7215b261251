package ipc

import (
	"bytes"
	"os"
	"testing"
)

// usage is what a leak would show in.
type usage struct{ files, maps int }

// resources counts the open files and the shared maps of this process.
func resources(t testing.TB) usage {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return usage{len(fds), bytes.Count(maps, []byte("memfd:"))}
}

// exceeds says whether anything has become more. Less is no leak: what a test before
// this one held may still have been counted.
func (u usage) exceeds(before usage) bool { return u.files > before.files || u.maps > before.maps }
