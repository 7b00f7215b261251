package main

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ordinaryTurns undoes what a process inherits from one that is tuned to host an
// engine: other people's programs are not.
func ordinaryTurns() {
	tasks, _ := os.ReadDir("/proc/self/task") // without it nothing is undone
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if attr, err := unix.SchedGetAttr(tid, 0); err == nil {
			attr.Runtime = 0
			_ = unix.SchedSetAttr(tid, attr, 0)
		}
	}
}
