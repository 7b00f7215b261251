package ipc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// memfds are the segments that are mapped or open, for a test that has failed.
func memfds(t testing.TB) string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "memfd:") {
			all.WriteString(line)
		}
	}
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		what, _ := os.Readlink(fd)
		fmt.Fprintln(&all, fd, what)
	}
	return all.String()
}
