//go:build linux || darwin

package main

// onLogoff has nothing to add: these systems end a session with SIGTERM.
func onLogoff(func(), <-chan struct{}) (stop func()) { return func() {} }
