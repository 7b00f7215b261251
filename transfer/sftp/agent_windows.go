package sftp

import (
	"context"
	"net"

	"github.com/Microsoft/go-winio"
)

// dialAgent reaches the agent service of OpenSSH for Windows.
func dialAgent(ctx context.Context) (net.Conn, error) {
	return winio.DialPipeContext(ctx, `\\.\pipe\openssh-ssh-agent`)
}
