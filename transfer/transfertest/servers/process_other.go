//go:build !linux

package servers

import "os/exec"

// dieWithParent has no counterpart here; Stop ends the server.
func dieWithParent(*exec.Cmd) {}
