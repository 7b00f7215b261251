package portshare

import (
	"errors"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"
)

// detached starts path without a console and in a process group of its own. It
// leaves our job if the job lets it: a job that ends with its owner would take the
// controller along.
func detached(path string, env []string) (*exec.Cmd, error) {
	cmd, err := startWith(path, env, windows.CREATE_BREAKAWAY_FROM_JOB)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		cmd, err = startWith(path, env, 0)
	}
	return cmd, err
}

func startWith(path string, env []string, flags uint32) (*exec.Cmd, error) {
	cmd := command(path, env)
	cmd.Dir = filepath.VolumeName(path) + `\`
	cmd.SysProcAttr = &syscall.SysProcAttr{
		HideWindow:    true,
		CreationFlags: flags | windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP,
	}
	return cmd, cmd.Start()
}
