//go:build linux || darwin

package sftp

import (
	"context"
	"errors"
	"net"
	"os"
)

// dialAgent reaches the agent that the user's session has started.
func dialAgent(ctx context.Context) (net.Conn, error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, errors.New("no ssh agent is running")
	}
	return (&net.Dialer{}).DialContext(ctx, "unix", socket)
}
