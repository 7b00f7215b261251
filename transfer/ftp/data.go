package ftp

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"berth/transfer/internal/peer"
)

// stream opens a data connection and sends the command that uses it, from
// offset on. On success the server has said that it is ready.
func (c *conn) stream(ctx context.Context, what string, offset int64, words ...string) (*data, error) {
	port, err := c.passive(ctx)
	if err != nil {
		return nil, err
	}
	n, err := c.dial(ctx, "tcp", net.JoinHostPort(c.host, strconv.Itoa(port)))
	if err != nil {
		c.broken = true // the server still waits for the connection
		return nil, err
	}
	d := &data{conn: c, what: what, net: peer.Watch(n, c.patience)}
	if offset > 0 {
		_, err = c.cmd(ctx, "continue at an offset", 350, "REST", strconv.FormatInt(offset, 10))
	}
	if err == nil {
		err = d.start(ctx, words)
	}
	if err != nil {
		n.Close()
		c.broken = true
		return nil, err
	}
	return d, nil
}

// passive asks for a port to connect to: by EPSV, which names no address at all,
// else by PASV.
func (c *conn) passive(ctx context.Context) (int, error) {
	if !c.noEPSV {
		a, err := c.cmd(ctx, "open a data port", 229, "EPSV")
		if err == nil {
			return parseEPSV(a.text())
		}
		if !is(err, 500, 501, 502, 504, 522) {
			return 0, err
		}
		c.noEPSV = true
	}
	a, err := c.cmd(ctx, "open a data port", 227, "PASV")
	if err != nil {
		return 0, err
	}
	return parsePASV(a.text())
}

// data is a data connection in use, together with its control connection.
type data struct {
	conn *conn
	what string
	net  *peer.Conn
}

func (d *data) start(ctx context.Context, words []string) error {
	a, err := d.conn.cmd(ctx, d.what, 0, words...)
	if err == nil && a.code/100 != 1 {
		err = &replyError{d.what, a}
	}
	return err
}

// guard ends both connections with ctx.
func (d *data) guard(ctx context.Context) (release func()) {
	control := d.conn.guard(ctx)
	stop := context.AfterFunc(ctx, func() { d.net.Close() })
	return func() {
		stop()
		control()
	}
}

// finish ends an upload's data so that nothing of it is lost, and waits for the
// server's word. The order matters to servers that have sent something we didn't
// read (TLS tickets): closing at once would reset the connection and cut the
// tail.
func (d *data) finish(ctx context.Context) error {
	err := closeWrite(d.net.Conn)
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(d.net, maxLine)) // until the server closes its side
	}
	d.net.Close()
	if err != nil {
		// The server may have said why on the control connection.
		if a, rerr := d.verdict(); rerr == nil && a.code >= 400 {
			return &replyError{d.what, a}
		}
		d.conn.broken = true
		return peer.Cause(ctx, fmt.Errorf("ftp server could not %s: %w", d.what, err))
	}
	_, err = d.conn.expect(ctx, d.what, 226)
	if is(err, 250) { // some servers say it so
		d.conn.broken = false
		return nil
	}
	return err
}

func closeWrite(c net.Conn) error {
	if t, ok := c.(interface{ CloseWrite() error }); ok {
		return t.CloseWrite()
	}
	return c.Close()
}

// verdict waits a moment for what the server has to say about a broken transfer.
func (d *data) verdict() (reply, error) {
	d.conn.broken = true
	if err := d.conn.net.Conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return reply{}, err
	}
	return readReply(d.conn.r)
}

// fail closes the data connection after a write error and answers why.
func (d *data) fail(ctx context.Context, err error) error {
	d.net.Close()
	if ctx.Err() == nil {
		if a, rerr := d.verdict(); rerr == nil && a.code >= 400 {
			return &replyError{d.what, a}
		}
	}
	d.conn.broken = true
	return peer.Cause(ctx, fmt.Errorf("ftp server could not %s: %w", d.what, err))
}
