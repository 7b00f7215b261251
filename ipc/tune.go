package ipc

import (
	"os"
	"runtime"
)

// tunedProcs is the least number of goroutines that shall run at once. With as many
// as there are processors, on a small machine, two goroutines that copy a large
// payload keep all others from running for tens of milliseconds; with more of them
// the system's scheduler shares the processors out, and it does so finely.
const tunedProcs = 32

// Tune prepares a program for hosting an engine: call it once, first thing in main.
// It makes the answers to companions with little to say independent of what others
// send: more goroutines may run at once than there are processors, and where the
// system can (Linux from 6.12 on) the program asks for short turns, which come sooner.
// A companion that cares for its own latency may call it as well. It changes nothing
// that the environment (GOMAXPROCS) has decided.
func Tune() {
	tuneProcs()
	shortTurns()
}

func tuneProcs() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < tunedProcs {
		runtime.GOMAXPROCS(tunedProcs)
	}
}
