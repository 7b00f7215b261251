//go:build unix

package ipc

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// vanish maps an empty file over b, whole pages of a map of this process: whoever
// touches it gets what a truncated segment gives, SIGBUS.
func vanish(t testing.TB, b []byte) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "nothing"))
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = f.Close() }()
	// SAFETY: b is a shared map of whole pages that the caller keeps mapped; what is unmapped later is the same range.
	_, err = unix.MmapPtr(int(f.Fd()), 0, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
	if err != nil {
		t.Error(err)
	}
}
