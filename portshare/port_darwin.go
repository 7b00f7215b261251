package portshare

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// taken reports whether err means that this port is not for us, but another may be.
func taken(err error) bool {
	return errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EACCES)
}

// listen listens on port. The net package sets SO_REUSEADDR, which on macOS lets a
// controller return to its port while old connections linger, and lets nobody in
// beside a listener on the very same address.
func listen(port int) (net.Listener, error) { return listenWith(port, nil) }
