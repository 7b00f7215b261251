package shm

import (
	"errors"
	"testing"

	"golang.org/x/sys/windows"
)

// TestReadOnlyHandleCantBeRaised: who got a handle for reading may ask the system for a
// duplicate that allows more, or for the right to change who may have one.
func TestReadOnlyHandleCantBeRaised(t *testing.T) {
	s, err := NewSegment(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	given := windows.Handle(duplicateWith(t, s, windows.FILE_MAP_READ))
	defer func() { _ = windows.CloseHandle(given) }()
	self := windows.CurrentProcess()
	for name, access := range map[string]uint32{"writing": windows.FILE_MAP_WRITE, "all": windows.GENERIC_ALL} {
		var h windows.Handle
		err := windows.DuplicateHandle(self, given, self, &h, access, false, 0)
		if err == nil {
			_ = windows.CloseHandle(h)
		}
		if !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
			t.Errorf("a duplicate for %s: %v", name, err)
		}
	}
}
