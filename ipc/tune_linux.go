package ipc

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// turn is how long a thread may run before others get theirs. The scheduler takes
// 0.1 ms as the least; what runs shorter is scheduled sooner.
const turn = 100 * time.Microsecond

// shortTurns asks for them for every thread; those that are started later inherit it.
// An older kernel ignores it.
func shortTurns() { eachThread(setTurn) }

// eachThread calls f for every thread of this process.
func eachThread(f func(tid int)) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			f(tid)
		}
	}
}

// setTurn leaves policy and nice value as they are.
func setTurn(tid int) {
	attr, err := unix.SchedGetAttr(tid, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return
	}
	attr.Runtime = uint64(turn)
	_ = unix.SchedSetAttr(tid, attr, 0)
}

// yield lets the others on this processor go first, and returns at once when nobody waits.
// The runtime need not know of so short a call.
func yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
