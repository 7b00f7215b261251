package ipc

import (
	"testing"

	"golang.org/x/sys/windows"
)

func duplicateHandle(t testing.TB, h uintptr) uintptr {
	t.Helper()
	var d windows.Handle
	self := windows.CurrentProcess()
	if err := windows.DuplicateHandle(self, windows.Handle(h), self, &d, 0, false, windows.DUPLICATE_SAME_ACCESS); err != nil {
		t.Fatal(err)
	}
	return uintptr(d)
}
