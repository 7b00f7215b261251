package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pkg/sftp"

	"berth/transfer"
)

// readAhead is how much of a file is asked for at once, by requests that overlap.
const readAhead = 4 << 20

// ReadAt reads the object back. It has a connection of its own until the caller
// closes it.
func (b *Backend) ReadAt(ctx context.Context, o transfer.Object, h transfer.Handle, offset, n int64) (io.ReadCloser, error) {
	if h == "" {
		return nil, transfer.ErrGone
	}
	if n == 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	c, err := b.get(ctx)
	if err != nil {
		return nil, err
	}
	release := c.guard(ctx)
	f, err := b.openCurrent(c, o, h)
	release()
	if err != nil {
		b.put(c)
		return nil, c.explain(ctx, err)
	}
	return &readBack{b: b, ctx: ctx, conn: c, file: f, at: offset, left: n, buf: make([]byte, min(n, readAhead))}, nil
}

// openCurrent opens the object under the name it has just now.
func (b *Backend) openCurrent(c *conn, o transfer.Object, h transfer.Handle) (f *sftp.File, err error) {
	err = b.tree.Current(c, o, h, func(name string) (err error) {
		f, err = c.sftp.Open(name)
		return err
	})
	return f, err
}

// readBack reads in large pieces.
type readBack struct {
	b    *Backend
	ctx  context.Context
	conn *conn
	file *sftp.File
	at   int64
	left int64
	buf  []byte
	rest []byte // what wasn't taken of buf yet
}

func (r *readBack) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *readBack) fill() error {
	defer r.conn.guard(r.ctx)()
	size := min(r.left, int64(len(r.buf)))
	n, err := r.file.ReadAt(r.buf[:size], r.at)
	r.rest = r.buf[:n]
	r.at += int64(n)
	r.left -= int64(n)
	if errors.Is(err, io.EOF) && int64(n) < size {
		return fmt.Errorf("the sftp server's copy ends at %d: %w", r.at, io.ErrUnexpectedEOF)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return r.conn.explain(r.ctx, err)
	}
	return nil
}

func (r *readBack) Close() error {
	defer r.b.put(r.conn)
	defer r.conn.guard(r.ctx)()
	return r.conn.explain(r.ctx, r.file.Close())
}
