package portshare

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/windows"
)

// soExclusive is SO_EXCLUSIVEADDRUSE of <winsock2.h>, ~SO_REUSEADDR.
const soExclusive = ^4

// exclusive keeps every other socket off the port, also one that sets SO_REUSEADDR,
// which on Windows would take connections away from ours.
func exclusive(fd uintptr) error {
	return windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soExclusive, 1)
}

// taken reports whether err means that this port is not for us, but another may be.
// Ports that Hyper-V and others have excluded answer WSAEACCES.
func taken(err error) bool {
	return errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, windows.WSAEACCES)
}

// listen listens on port alone.
func listen(port int) (net.Listener, error) { return listenWith(port, control) }

func control(_, _ string, conn syscall.RawConn) error {
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = exclusive(fd) }); err != nil {
		return err
	}
	return failed
}
