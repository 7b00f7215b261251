package ipc

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

func peerOf(fd int) (uid, pid int, err error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return -1, 0, err
	}
	return int(cred.Uid), int(cred.Pid), nil
}

// watchProcess gets a descriptor of the process at the other end: its socket may
// outlive it in a child that it forked.
func watchProcess(c *net.UnixConn, pid int) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	fd := -1
	if ctlErr := raw.Control(func(s uintptr) {
		// The kernel remembers who connected; a number could be somebody else's by now, and
		// is where that process has ended. Before Linux 6.5 the number is all there is.
		if fd, err = unix.GetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_PEERPIDFD); errors.Is(err, unix.ENOPROTOOPT) {
			fd, err = unix.PidfdOpen(pid, 0)
		}
	}); ctlErr != nil {
		return peer{}, ctlErr
	}
	if err != nil {
		return peer{}, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return peer{}, err
	}
	file := os.NewFile(uintptr(fd), "process")
	return peer{pid: pid, wait: func() { waitReadable(file) }, release: file.Close}, nil
}

// waitReadable parks in the netpoller until the process has ended or file is closed.
func waitReadable(file *os.File) {
	raw, err := file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
}
