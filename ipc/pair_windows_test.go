package ipc

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/windows"
)

func duplicateHandle(t testing.TB, h uintptr) uintptr {
	t.Helper()
	var d windows.Handle
	self := windows.CurrentProcess()
	if err := windows.DuplicateHandle(self, windows.Handle(h), self, &d, 0, false, windows.DUPLICATE_SAME_ACCESS); err != nil {
		t.Fatal(err)
	}
	return uintptr(d)
}

// bequeath has cmd inherit the pipe of a control stream.
func bequeath(cmd *exec.Cmd, c conn) error {
	raw, err := c.(*pipeConn).f.SyscallConn()
	if err != nil {
		return err
	}
	var d windows.Handle
	self := windows.CurrentProcess()
	if ctlErr := raw.Control(func(h uintptr) {
		err = windows.DuplicateHandle(self, windows.Handle(h), self, &d, 0, true, windows.DUPLICATE_SAME_ACCESS)
	}); ctlErr != nil || err != nil {
		return errors.Join(ctlErr, err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{AdditionalInheritedHandles: []syscall.Handle{syscall.Handle(d)}}
	return nil
}
