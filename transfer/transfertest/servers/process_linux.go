package servers

import (
	"os/exec"
	"syscall"
)

// dieWithParent keeps a killed test from leaving servers behind.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
