package ipc

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	futexWaitOp = 0
	futexWakeOp = 1
)

// futexBell sleeps on the wake words themselves.
type futexBell struct {
	rx, tx *atomic.Uint32
	limit  *unix.Timespec // of a sleep; nil: none
}

var futexLimit = unix.NsecToTimespec(int64(sleepLimit))

// newBell is wary when the other side may be hostile.
func newBell(rx, tx *atomic.Uint32, _ []uintptr, wary bool) (bell, error) {
	f := futexBell{rx: rx, tx: tx}
	if wary {
		f.limit = &futexLimit
	}
	return f, nil
}

// sleep goes through the scheduler: a wait that the runtime does not know of would
// stop every garbage collection.
func (f futexBell) sleep() bool {
	// SAFETY: the word lies in the lane, which stays mapped while somebody leads; the limit is a variable of this package.
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(f.rx)), futexWaitOp, asleep, uintptr(unsafe.Pointer(f.limit)), 0, 0)
	return true
}

func (f futexBell) wakeSelf() {
	if futexWake(f.rx) == unix.EFAULT {
		interruptAll()
	}
}

func (f futexBell) wakePeer()  { futexWake(f.tx) }
func (futexBell) close() error { return nil }

// futexWake never blocks, so the scheduler need not know.
func futexWake(w *atomic.Uint32) unix.Errno {
	// SAFETY: the word lies in the lane, which the caller keeps mapped.
	_, _, errno := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), futexWakeOp, 1, 0, 0, 0)
	return errno
}

// interruptAll has every sleep of this process look at its word again: the memory of one
// has vanished, and nobody can be woken by it any more. SIGURG is what the runtime of Go
// interrupts threads with, and expects at any time.
func interruptAll() {
	eachThread(func(tid int) { _ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG) })
}
