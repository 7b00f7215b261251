//go:build unix

package ipc

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func duplicateHandle(testing.TB, uintptr) uintptr { return 0 }

// bequeath has cmd inherit the socket of a control stream.
func bequeath(cmd *exec.Cmd, c conn) error {
	fd := -1
	var err error
	if ctlErr := c.(*unixConn).raw.Control(func(s uintptr) { fd, err = unix.Dup(int(s)) }); ctlErr != nil || err != nil {
		return errors.Join(ctlErr, err)
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), "socket"))
	return nil
}
