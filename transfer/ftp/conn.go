package ftp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"berth/transfer"
	"berth/transfer/internal/peer"
)

// conn is a control connection, logged in. One goroutine uses it at a time.
type conn struct {
	net      *peer.Conn
	r        *bufio.Reader
	dial     peer.Dial
	host     string // where data connections go
	patience time.Duration
	home     string          // where the server started us
	features map[string]bool // words of FEAT, upper case
	noEPSV   bool
	broken   bool // the conversation is out of step: of no more use
}

// login connects and gets ready: binary, UTF-8 names, absolute paths.
func (b *Backend) login(ctx context.Context) (*conn, error) {
	dial := b.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
	}
	n, err := dial(ctx, "tcp", b.cfg.Addr)
	if err != nil {
		return nil, err
	}
	c := &conn{net: peer.Watch(n, b.cfg.Patience), dial: dial, patience: b.cfg.Patience, features: map[string]bool{}}
	c.r = bufio.NewReaderSize(c.net, maxLine)
	c.host, _, _ = net.SplitHostPort(b.cfg.Addr)
	if b.cfg.Dial == nil { // a name may stand for several hosts: stay with this one
		c.host, _, _ = net.SplitHostPort(n.RemoteAddr().String())
	}
	if err := c.greet(ctx, b); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *conn) greet(ctx context.Context, b *Backend) error {
	if _, err := c.await(ctx, "let us in", 220); err != nil {
		return err
	}
	a, err := c.cmd(ctx, "log in", 0, "USER", b.cfg.User)
	if err != nil {
		return err
	}
	if a.code == 331 {
		password, err := b.password.Get(ctx)
		if err != nil {
			return fmt.Errorf("%w: password for %s: %w", transfer.ErrUnauthorized, b.cfg.Addr, err)
		}
		if a, err = c.cmd(ctx, "log in", 0, "PASS", password); err != nil {
			return err
		}
	}
	if a.code != 230 && a.code != 202 {
		return &replyError{"log in", a}
	}
	if a, err := c.cmd(ctx, "list its features", 211, "FEAT"); err == nil {
		for _, f := range a.lines {
			c.features[strings.ToUpper(strings.TrimSpace(f))] = true
		}
	} else if c.broken {
		return err
	}
	if c.features["UTF8"] {
		if _, err := c.cmd(ctx, "use UTF-8", 0, "OPTS", "UTF8 ON"); err != nil && c.broken {
			return err
		}
	}
	if err := c.simple(ctx, "switch to binary", "TYPE", "I"); err != nil {
		return err
	}
	a, err = c.cmd(ctx, "name its directory", 257, "PWD")
	if err != nil {
		return err
	}
	c.home, err = parsePWD(a.text())
	return err
}

// Close hangs up. It doesn't say QUIT: nobody waits for the answer.
func (c *conn) Close() error { return c.net.Close() }

// guard ends the connection with ctx, which frees whatever waits on it.
func (c *conn) guard(ctx context.Context) (release func()) {
	stop := context.AfterFunc(ctx, func() { c.net.Close() })
	return func() {
		if !stop() {
			c.broken = true
		}
	}
}

// send writes one command. Words come from names too: a line end in one would be
// a command of its own.
func (c *conn) send(words ...string) error {
	line := strings.Join(words, " ")
	if strings.ContainsAny(line, "\r\n\x00") {
		return fmt.Errorf("%w: a line end in an ftp command", transfer.ErrPermanent)
	}
	_, err := c.net.Write([]byte(line + "\r\n"))
	if err != nil {
		c.broken = true
	}
	return err
}

// read reads one answer; a preliminary one counts too.
func (c *conn) read() (reply, error) {
	a, err := readReply(c.r)
	if err != nil {
		c.broken = true
	} else if a.code == 421 { // the server hangs up
		c.broken = true
	}
	return a, err
}

// await reads an answer and expects a code; 0 takes any that doesn't refuse.
func (c *conn) await(ctx context.Context, what string, want int) (reply, error) {
	defer c.guard(ctx)()
	return c.expect(ctx, what, want)
}

func (c *conn) expect(ctx context.Context, what string, want int) (reply, error) {
	a, err := c.read()
	if err != nil {
		return a, peer.Cause(ctx, fmt.Errorf("ftp server could not %s: %w", what, err))
	}
	if want == 0 && a.code < 400 || a.code == want {
		return a, nil
	}
	if a.code < 400 { // neither refused nor what comes next: out of step
		c.broken = true
	}
	return a, &replyError{what, a}
}

// cmd sends a command and reads its answer.
func (c *conn) cmd(ctx context.Context, what string, want int, words ...string) (reply, error) {
	defer c.guard(ctx)()
	if err := c.send(words...); err != nil {
		return reply{}, peer.Cause(ctx, err)
	}
	return c.expect(ctx, what, want)
}

func (c *conn) simple(ctx context.Context, what string, words ...string) error {
	_, err := c.cmd(ctx, what, 0, words...)
	return err
}

// Home is where the server started us.
func (c *conn) Home() string { return c.home }

// Size is the length of a file. FTP has one code for "missing" and "forbidden";
// who may write a directory can look into it, so it is taken for missing.
func (c *conn) Size(ctx context.Context, name string) (int64, error) {
	a, err := c.cmd(ctx, "tell a file's size", 213, "SIZE", name)
	if is(err, 550, 450) {
		return 0, fmt.Errorf("%w: %s", fs.ErrNotExist, name)
	}
	if err != nil {
		return 0, err
	}
	return parseSize(a.text())
}

// Enter changes into a directory, which says whether it exists.
func (c *conn) Enter(ctx context.Context, dir string) error {
	_, err := c.cmd(ctx, "enter "+strconv.Quote(dir), 250, "CWD", dir)
	return err
}

// MakeDir makes a directory.
func (c *conn) MakeDir(ctx context.Context, dir string) error {
	_, err := c.cmd(ctx, "make the directory "+strconv.Quote(dir), 257, "MKD", dir)
	return err
}

// Remove deletes a file, or finds that it is gone.
func (c *conn) Remove(ctx context.Context, name string) error {
	_, err := c.cmd(ctx, "remove "+strconv.Quote(name), 250, "DELE", name)
	if !is(err, 550, 450) {
		return err
	}
	if _, gone := c.Size(ctx, name); errors.Is(gone, fs.ErrNotExist) {
		return nil
	}
	return err
}

// RemoveDir removes an empty directory, or finds that it is gone.
func (c *conn) RemoveDir(ctx context.Context, name string) error {
	_, err := c.cmd(ctx, "remove "+strconv.Quote(name), 250, "RMD", name)
	if is(err, 550, 450) && c.Enter(ctx, name) != nil && !c.broken {
		return nil
	}
	return err
}
