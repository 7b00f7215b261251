package ipc

import (
	"os"
	"runtime"
	"sync/atomic"
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
// On Linux what this package copies for it gives way to others now and then (Parcel.Fill,
// Message.CopyTo); the built-in copy of a large payload does not.
// A companion that cares for its own latency may call it as well. It changes nothing
// that the environment (GOMAXPROCS) has decided.
func Tune() {
	tuneProcs()
	shortTurns()
	tuned.Store(true)
}

// tuned says that Tune has been called.
var tuned atomic.Bool

// stint is how many bytes are copied before others get the processor: some 0.2 ms.
const stint = 1 << 20

// giveWay lets those go first who wait for this processor. Without it who has just been
// answered may wait behind a long copy until the next tick, milliseconds away, beside an
// idle processor: the system moves nobody who ran a moment ago. It costs the rest of a
// turn while anybody waits, which is why only short ones are given up.
func giveWay() {
	if tuned.Load() {
		yield()
	}
}

func tuneProcs() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < tunedProcs {
		runtime.GOMAXPROCS(tunedProcs)
	}
}
