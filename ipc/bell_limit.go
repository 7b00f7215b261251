//go:build linux || windows

package ipc

import "time"

// sleepLimit ends a sleep of the engine's. Whoever may sleep on a word or an event may
// queue there before the engine and take its wake-ups, and on Linux move its sleeper to
// a word of its own, where no wake-up finds it (FUTEX_REQUEUE). Nobody can take a limit
// away. It is far beyond what an honest sleep takes (nap.go ends those), and a companion
// trusts its engine: neither pays for a timer that fires.
const sleepLimit = 100 * time.Millisecond
