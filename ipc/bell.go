package ipc

import "time"

// bell is how one end of a lane sleeps in the kernel until the other wakes it.
// Where the system has nothing that two processes could share for this, sleep
// answers false at once and the end waits for a doorbell frame instead.
type bell interface {
	// sleep waits until this end's wake word is no longer asleep, or for wakeSelf; in
	// the engine for sleepLimit at most. It may return early; it answers false when it
	// can't sleep at all.
	sleep() bool
	wakeSelf() // who sleeps, whatever the word is; nothing when nobody does yet
	wakePeer()
	close() error
}

const (
	spinTime  = 50 * time.Microsecond // what it takes to wake a peer whose processor sleeps
	hitTime   = 50 * time.Microsecond // a wait this short would have been worth a spin
	warmTime  = 10 * time.Millisecond // after this long in the kernel, or up to twice that, wait for a doorbell
	watchTime = time.Millisecond      // how long a hot lane may be without a leader
)
