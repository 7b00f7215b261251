//go:build !linux

package ipc

// shortTurns does nothing: the system has no such wish.
func shortTurns() {}

// yield does nothing: turns are as long as ever.
func yield() {}
