package ftp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"berth/transfer"
)

// ReadAt reads the object back by RETR. It has a connection of its own until the
// caller closes it.
func (b *Backend) ReadAt(ctx context.Context, o transfer.Object, h transfer.Handle, offset, n int64) (io.ReadCloser, error) {
	if h == "" {
		return nil, transfer.ErrGone
	}
	c, err := b.get(ctx)
	if err != nil {
		return nil, err
	}
	name, size, err := b.current(ctx, c, o, h)
	if err == nil && size < offset+n {
		err = fmt.Errorf("the ftp server holds %d of %d bytes", size, offset+n)
	}
	if err != nil || n == 0 {
		b.put(c)
		return io.NopCloser(strings.NewReader("")), err
	}
	d, err := c.stream(ctx, "send the file back", offset, "RETR", name)
	if err != nil {
		b.put(c)
		return nil, err
	}
	return &readBack{b: b, ctx: ctx, data: d, left: n, whole: size == offset+n, release: d.guard(ctx)}, nil
}

// current is the name the object has just now, with its size.
func (b *Backend) current(ctx context.Context, c *conn, o transfer.Object, h transfer.Handle) (name string, size int64, err error) {
	err = b.tree.Current(c, o, h, func(n string) (err error) {
		name = n
		size, err = c.Size(ctx, n)
		return err
	})
	return name, size, err
}

// readBack is one RETR.
type readBack struct {
	b       *Backend
	ctx     context.Context
	data    *data
	left    int64
	whole   bool // it ends with the file, so the connection stays in step
	release func()
}

func (r *readBack) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.data.net.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if errors.Is(err, io.EOF) && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, nil
	}
	return n, r.data.fail(r.ctx, err)
}

// Close ends the transfer. Stopping in the middle costs the connection: servers
// disagree on what they answer then.
func (r *readBack) Close() error {
	c := r.data.conn
	if r.left == 0 && r.whole && !c.broken {
		if err := r.data.finish(r.ctx); err != nil {
			c.broken = true
		}
	} else {
		r.data.net.Close()
		c.broken = true
	}
	r.release()
	r.b.put(c)
	return nil
}

// SHA256 asks a server that offers it (HASH or XSHA256) for the hash of the whole
// file. A part can't be asked for in a way that servers agree on.
func (b *Backend) SHA256(ctx context.Context, o transfer.Object, h transfer.Handle, n int64) (sum [32]byte, err error) {
	if h == "" {
		return sum, transfer.ErrGone
	}
	err = b.with(ctx, func(c *conn) error {
		command := c.hashCommand()
		if command == "" {
			return fmt.Errorf("%w: this ftp server offers no SHA-256", errors.ErrUnsupported)
		}
		name, size, err := b.current(ctx, c, o, h)
		if err != nil {
			return err
		}
		if size != n {
			return fmt.Errorf("%w: only of a whole file", errors.ErrUnsupported)
		}
		if command == "HASH" {
			if err := c.simple(ctx, "hash by SHA-256", "OPTS", "HASH SHA-256"); err != nil {
				return err
			}
		}
		a, err := c.cmd(ctx, "hash the file", 0, command, name)
		if err != nil {
			return err
		}
		sum, err = parseHash(a.lines)
		return err
	})
	return sum, err
}

// hashCommand is what FEAT offers, or empty.
func (c *conn) hashCommand() string {
	for f := range c.features {
		if strings.HasPrefix(f, "HASH ") && strings.Contains(f, "SHA-256") {
			return "HASH"
		}
	}
	if c.features["XSHA256"] {
		return "XSHA256"
	}
	return ""
}

func hexSum(s string) (sum [32]byte, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(sum) {
		return sum, errors.New("no SHA-256")
	}
	return [32]byte(b), nil
}
