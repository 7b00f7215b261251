//go:build !linux

package main

// ordinaryTurns has nothing to undo on this system.
func ordinaryTurns() {}
