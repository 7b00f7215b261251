package ipc

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"
)

// vanish takes the access to b away, whole pages of a map of this process: whoever
// touches it gets an access violation. (A page that can't be read in is
// EXCEPTION_IN_PAGE_ERROR, which the runtime treats the same; no test can cause it.)
func vanish(t testing.TB, b []byte) {
	t.Helper()
	var before uint32
	// SAFETY: the address is only handed to the system.
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	if err := windows.VirtualProtect(at, uintptr(len(b)), windows.PAGE_NOACCESS, &before); err != nil {
		t.Error(err)
	}
}
