package ipc

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A move changes nothing for good: the thread may run wherever it might before.
func TestLeaveProcessorKeepsWhatIsAllowed(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Skip("this system doesn't tell:", err)
	}
	var one unix.CPUSet
	for cpu := 0; one.Count() == 0; cpu++ {
		if before.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	for _, allowed := range []unix.CPUSet{before, one} {
		if err := unix.SchedSetaffinity(0, &allowed); err != nil {
			t.Fatal(err)
		}
		leaveProcessor()
		if err := unix.SchedGetaffinity(0, &after); err != nil || after != allowed {
			t.Errorf("allowed %v, then %v (%v)", allowed, after, err)
		}
	}
	_ = unix.SchedSetaffinity(0, &before)
}
