package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/transfer"
	"berth/transfer/internal/peer"
)

// conn is one SSH connection with one SFTP session, used by one goroutine at a
// time.
type conn struct {
	net      net.Conn
	sftp     *sftp.Client
	home     string // where the server started us
	openSSH  bool
	packet   int // bytes of one write request
	requests int // in flight for one file
	patience time.Duration
	dead     atomic.Bool // closed, by whoever lost patience or interest
}

// Requests in flight for one file, and their size. OpenSSH takes 256 KiB with the
// header; what others take is only promised for 32 KiB. More than a few MiB in
// flight only cost memory: the window of the SSH library is 2 MiB.
const (
	inFlight    = 64
	smallPacket = 32 << 10
	inFlightBig = 16
	largePacket = 255 << 10
)

// login connects, checks the host's key and authenticates.
func (b *Backend) login(ctx context.Context) (*conn, error) {
	dial := b.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
	}
	n, err := dial(ctx, "tcp", b.cfg.Addr)
	if err != nil {
		return nil, err
	}
	c := &conn{net: n, patience: b.cfg.Patience}
	release := c.guard(ctx)
	err = c.handshake(ctx, b.cfg)
	release()
	if err != nil {
		c.Close()
		return nil, c.explain(ctx, err)
	}
	return c, nil
}

func (c *conn) handshake(ctx context.Context, cfg Config) error {
	a := newAuth(ctx, cfg)
	defer a.close()
	config, err := a.config()
	if err != nil {
		return err
	}
	t, chans, reqs, err := ssh.NewClientConn(c.net, cfg.Addr, config)
	if err != nil {
		return a.explain(err)
	}
	c.packet, c.requests = smallPacket, inFlight
	if c.openSSH = strings.HasPrefix(string(t.ServerVersion()), "SSH-2.0-OpenSSH_"); c.openSSH {
		c.packet, c.requests = largePacket, inFlightBig
	}
	c.sftp, err = sftp.NewClient(ssh.NewClient(t, chans, reqs), sftp.MaxPacketUnchecked(c.packet), sftp.MaxConcurrentRequestsPerFile(c.requests))
	if err != nil {
		return fmt.Errorf("%s offers no sftp: %w", cfg.Addr, err)
	}
	c.home, err = c.sftp.RealPath(".")
	return err
}

// Close cuts the connection. It says no good-bye, which a stalled server could
// keep us waiting for; all goroutines of the libraries end with it.
func (c *conn) Close() error {
	c.dead.Store(true)
	return c.net.Close()
}

// guard ends the connection with ctx, or after our patience; either frees
// whatever waits on it.
func (c *conn) guard(ctx context.Context) (release func()) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	silence := time.AfterFunc(c.patience, func() { c.Close() })
	return func() {
		stop()
		silence.Stop()
	}
}

// explain says why a call failed: cancelled, refused for good, or broken.
func (c *conn) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sftp.ErrSSHFxConnectionLost) {
		c.dead.Store(true)
	}
	err = peer.Cause(ctx, err)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: the sftp server forbids it: %w", transfer.ErrPermanent, err)
	}
	return err
}

func (c *conn) alive(ctx context.Context) bool {
	defer c.guard(ctx)()
	_, err := c.sftp.RealPath(".")
	return err == nil
}

// Home is where the server started us.
func (c *conn) Home() string { return c.home }

// Size is the length of a file; fs.ErrNotExist when there is none.
func (c *conn) Size(_ context.Context, name string) (int64, error) {
	st, err := c.sftp.Stat(name)
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() {
		return 0, fmt.Errorf("%w: %q on the sftp server is no file", transfer.ErrPermanent, name)
	}
	return st.Size(), nil
}

func (c *conn) taken(name string) bool {
	_, err := c.sftp.Lstat(name)
	return err == nil
}

// Enter asks whether a directory exists.
func (c *conn) Enter(_ context.Context, dir string) error {
	st, err := c.sftp.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() {
		return fmt.Errorf("%w: the sftp server has no directory %q", transfer.ErrPermanent, dir)
	}
	return err
}

// MakeDir makes a directory.
func (c *conn) MakeDir(_ context.Context, dir string) error {
	if err := c.sftp.Mkdir(dir); err != nil {
		return fmt.Errorf("making the directory %q: %w", dir, err)
	}
	return nil
}

// Remove deletes a file, or finds that it is gone.
func (c *conn) Remove(_ context.Context, name string) error { return missing(c.sftp.Remove(name)) }

// RemoveDir removes an empty directory, or finds that it is gone.
func (c *conn) RemoveDir(_ context.Context, dir string) error {
	return missing(c.sftp.RemoveDirectory(dir))
}
