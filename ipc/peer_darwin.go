package ipc

import (
	"net"

	"golang.org/x/sys/unix"
)

func peerOf(fd int) (uid, pid int, err error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return -1, 0, err
	}
	pid, err = unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	return int(cred.Uid), pid, err
}

// watchProcess relies on the end of the socket: there is no descriptor of a process.
func watchProcess(_ *net.UnixConn, pid int) (peer, error) {
	return peer{pid: pid, wait: nil, release: func() error { return nil }}, nil
}
