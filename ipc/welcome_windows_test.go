package ipc

import (
	"testing"

	"golang.org/x/sys/windows"

	"berth/internal/shm"
)

// TestAWelcomeThatFailsLeavesNoHandles: neither where its memory can't be mapped nor where
// the handles are too many or too few.
func TestAWelcomeThatFailsLeavesNoHandles(t *testing.T) {
	w := welcome{version: Version, slots: 8, unit: 4096, window: 8, directory: directorySize, lane: uint64(laneSize(8)), largest: 1 << 20}
	for name, c := range map[string]struct{ directory, events int }{
		"a short directory": {4096, 2}, "another's directory": {directorySize, 2}, "one event": {directorySize, 1}, "three events": {directorySize, 3},
	} {
		var handles []uintptr
		for _, size := range []int{c.directory, int(w.lane)} {
			seg, err := shm.NewSegment(size)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = seg.Close() }()
			if name != "another's directory" && size == directorySize {
				copy(seg.Bytes()[dirMagic:], magicDirectory)
				le.PutUint32(seg.Bytes()[dirVersion:], Version)
				le.PutUint32(seg.Bytes()[dirCapacity:], directoryCapacity)
			}
			if size == int(w.lane) {
				formatLane(seg.Bytes(), w.slots)
			}
			handles = append(handles, duplicateHandle(t, seg.Handle()))
		}
		for range c.events {
			event, err := windows.CreateEvent(nil, 0, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			handles = append(handles, uintptr(event))
		}
		if _, err := newClient(nil, 1, hello{}, frame{kind: frameWelcome, body: w.encode(), handles: handles}); err == nil {
			t.Fatalf("%s: welcome", name)
		}
		for _, h := range handles {
			if windows.SetHandleInformation(windows.Handle(h), 0, 0) == nil {
				t.Errorf("%s: it has left a handle open", name)
			}
		}
	}
}
