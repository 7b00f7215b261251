//go:build linux || darwin

package main

// leaveOwnConsole has nothing to do: a window is opened for no program here.
func leaveOwnConsole() {}
