package ipc

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// leaveProcessor moves this thread to another processor than the one it runs on, and
// allows it all again that it was allowed before. The system is free to move it back.
func leaveProcessor() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var allowed unix.CPUSet
	var cpu uint32
	if unix.SchedGetaffinity(0, &allowed) != nil {
		return
	}
	// SAFETY: the kernel writes the number of the processor into cpu, which outlives the call.
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		return
	}
	others := allowed
	others.Clear(int(cpu))
	if others.Count() > 0 && unix.SchedSetaffinity(0, &others) == nil {
		_ = unix.SchedSetaffinity(0, &allowed)
	}
}
