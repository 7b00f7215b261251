//go:build linux || darwin

package portshare

import (
	"os/exec"
	"syscall"
)

// detached starts path in a session of its own, so that the end of our terminal or
// process group does not reach it, and in a directory that nobody wants to unmount.
func detached(path string, env []string) (*exec.Cmd, error) {
	cmd := command(path, env)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, cmd.Start()
}
