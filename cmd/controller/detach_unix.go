//go:build linux || darwin

package main

import (
	"os/exec"
	"syscall"
)

// detach lets the program outlive the terminal it was started from.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
