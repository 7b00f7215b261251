//go:build windows || darwin

package portshare

import (
	"context"
	"net"
	"strconv"
	"syscall"
)

// reservation is only a number here: these systems have no way to keep a port for
// one user's processes without listening on it. A port that a stranger takes before
// the controller listens is found lost then, and replaced.
type reservation struct{ port int }

// claim finds out whether port is free, by listening on it for a moment.
func claim(port int) (reservation, error) {
	ln, err := listen(port)
	if err != nil {
		return reservation{}, err
	}
	return reservation{port: port}, ln.Close()
}

func join(port int) (reservation, error) { return reservation{port: port}, nil }

func (r *reservation) close() { *r = reservation{} }

func listenWith(port int, control func(network, address string, c syscall.RawConn) error) (net.Listener, error) {
	config := net.ListenConfig{Control: control}
	return config.Listen(context.Background(), "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
