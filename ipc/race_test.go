//go:build race

package ipc

// underRace: atomic operations touch memory in the race detector's own code, where
// no fault can be recovered.
const underRace = true
