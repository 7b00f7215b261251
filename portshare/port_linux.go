package portshare

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// reservation keeps a port bound without listening on it. Who connects is refused,
// and nobody of another user can bind the port, root included; sockets of this user
// that set SO_REUSEPORT can, and one of them listens.
type reservation struct {
	port int // 0 when nothing is held
	fd   int
}

// claim reserves a port that nobody holds. SO_REUSEPORT comes after the bind: set
// before, it would let us in beside another session of the same user. SO_REUSEADDR
// is never set: with it, a socket of another user could bind beside ours.
func claim(port int) (reservation, error) {
	fd, err := bound(port, false)
	if err != nil {
		return reservation{}, err
	}
	if err := share(fd); err != nil {
		return reservation{}, errors.Join(err, unix.Close(fd))
	}
	return reservation{port: port, fd: fd}, nil
}

// join adds this process to those that hold port.
func join(port int) (reservation, error) {
	fd, err := bound(port, true)
	if err != nil {
		return reservation{}, err
	}
	return reservation{port: port, fd: fd}, nil
}

// listen listens on a port that is held by reservations of this user.
func listen(port int) (net.Listener, error) {
	fd, err := bound(port, true)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close() // FileListener has a duplicate
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	return net.FileListener(f)
}

func bound(port int, shared bool) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if shared {
		err = share(fd)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("bind 127.0.0.1:%d: %w", port, err), unix.Close(fd))
	}
	return fd, nil
}

func share(fd int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}

// taken reports whether err means that this port is not for us, but another may be.
func taken(err error) bool {
	return errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EACCES)
}

// close lets go of the port. Nothing held is fine.
func (r *reservation) close() {
	if r.port != 0 {
		unix.Close(r.fd)
	}
	*r = reservation{}
}
