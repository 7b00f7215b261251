package ftp

import (
	"context"
	"fmt"
	"io"

	"berth/transfer"
	"berth/transfer/internal/peer"
)

// Open answers an upload at the server's offset or at limit, whichever is less.
// What the server holds beyond is overwritten; a file that is longer than the
// object can ever be isn't ours and starts anew.
func (b *Backend) Open(ctx context.Context, o transfer.Object, h transfer.Handle, limit int64) (transfer.Upload, error) {
	r, fresh, err := b.tree.Recall(o, h)
	if err == nil && !fresh {
		err = b.with(ctx, func(c *conn) (err error) {
			r, err = b.tree.Find(ctx, c, o, h)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	u := &upload{b: b, ctx: ctx, object: o, Remains: r, start: min(r.Length, limit), longer: r.Length}
	if r.Committed {
		u.start = o.Size
	}
	u.at = u.start
	return u, nil
}

// upload is one STOR, from the first Write to Close.
type upload struct {
	peer.Remains
	b       *Backend
	ctx     context.Context
	object  transfer.Object
	start   int64
	at      int64 // where the next byte goes
	longer  int64 // the file's length before: overwriting doesn't shorten it
	data    *data
	release func()
	failed  error
}

func (u *upload) Offset() int64 { return u.start }

func (u *upload) Write(p []byte) (int, error) {
	if u.failed != nil {
		return 0, u.failed
	}
	if int64(len(p)) > u.object.Size-u.at {
		return 0, u.fail(fmt.Errorf("%w: more than the %d bytes that were announced", transfer.ErrPermanent, u.object.Size))
	}
	if len(p) == 0 {
		return 0, nil
	}
	if u.data == nil {
		if err := u.connect(); err != nil {
			return 0, u.fail(err)
		}
	}
	n, err := u.data.net.Write(p)
	u.at += int64(n)
	if err != nil {
		return n, u.fail(u.data.fail(u.ctx, err))
	}
	return n, nil
}

// connect starts STOR. Without an offset it empties the file first, so that a
// foreign one leaves nothing behind.
func (u *upload) connect() error {
	c, err := u.b.get(u.ctx)
	if err != nil {
		return err
	}
	u.b.tree.Touch(u.Place.Part)
	d, err := c.stream(u.ctx, "store the file", u.start, "STOR", u.Place.Part)
	if err != nil {
		u.b.put(c)
		return err
	}
	if u.start == 0 {
		u.longer = 0
	}
	u.data, u.release, u.Exists = d, d.guard(u.ctx), true
	return nil
}

// fail remembers the first error and lets go of the connections.
func (u *upload) fail(err error) error {
	if u.failed == nil {
		u.failed = err
	}
	if u.data != nil {
		u.data.net.Close()
		u.data.conn.broken = true
		u.letGo()
	}
	return u.failed
}

func (u *upload) letGo() {
	u.release()
	u.b.put(u.data.conn)
	u.data = nil
}

// Close ends the file and asks for its length: a server that saw the connection
// end early takes that for the end of the file and is content.
func (u *upload) Close() error {
	if u.failed != nil {
		return u.failed
	}
	if u.data == nil && !u.Exists && !u.Committed {
		if err := u.connect(); err != nil { // an empty file is a file too
			return u.fail(err)
		}
	}
	if u.data == nil {
		u.failed = io.ErrClosedPipe
		return nil
	}
	if err := u.data.finish(u.ctx); err != nil {
		return u.fail(err)
	}
	n, err := u.data.conn.Size(u.ctx, u.Place.Part)
	if want := max(u.at, u.longer); err == nil && n != want {
		err = fmt.Errorf("the ftp server kept %d of %d bytes; the rest is sent again", n, want)
	}
	if err != nil {
		return u.fail(err)
	}
	u.b.tree.Holds(u.Place.Part, n)
	u.letGo()
	u.failed = io.ErrClosedPipe
	return nil
}
