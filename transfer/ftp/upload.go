package ftp

import (
	"context"
	"errors"
	"fmt"
	"io"

	"berth/transfer"
	"berth/transfer/internal/peer"
)

// Open answers an upload at the server's offset or at limit, whichever is less.
// What the server holds beyond is overwritten; a file that is longer than the
// object can ever be isn't ours and starts anew.
func (b *Backend) Open(ctx context.Context, o transfer.Object, h transfer.Handle, limit int64) (transfer.Upload, error) {
	if h == "" {
		return nil, transfer.ErrGone
	}
	u := &upload{b: b, ctx: ctx, object: o}
	if _, fresh := b.fresh.LoadAndDelete(h); fresh {
		p, err := b.path.Within(string(h), o)
		u.place = p
		return u, err
	}
	err := b.with(ctx, func(c *conn) (err error) {
		if u.place, err = b.place(c, o, h); err != nil {
			return err
		}
		return u.locate(c, limit)
	})
	if err != nil {
		return nil, err
	}
	u.at = u.start
	return u, nil
}

// locate finds where to go on.
func (u *upload) locate(c *conn, limit int64) error {
	n, err := peer.Agree(u.ctx, func(ctx context.Context) (int64, error) { return c.size(ctx, u.place.Part) })
	switch {
	case errors.Is(err, errMissing):
		return u.missing(c)
	case err != nil:
		return err
	}
	if n <= u.object.Size { // a longer one can't be ours: it counts as missing
		u.exists = true
		u.start, u.longer = min(n, limit), n
	}
	return nil
}

// missing tells a finished object from one that was begun but never written, and
// both from one that is gone.
func (u *upload) missing(c *conn) error {
	err := c.finished(u.ctx, u.place, u.object)
	if err == nil {
		u.start, u.committed = u.object.Size, true
		return nil
	}
	if errors.Is(err, transfer.ErrGone) && u.place.Own && c.enter(u.ctx, u.place.Dir()) == nil {
		return nil
	}
	return err
}

// upload is one STOR, from the first Write to Close.
type upload struct {
	b         *Backend
	ctx       context.Context
	object    transfer.Object
	place     peer.Place
	start     int64
	at        int64 // where the next byte goes
	longer    int64 // the file's length before: overwriting doesn't shorten it
	exists    bool  // the temporary file
	committed bool
	data      *data
	release   func()
	failed    error
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
	u.b.whole.Delete(transfer.Handle(u.place.Part))
	d, err := c.stream(u.ctx, "store the file", u.start, "STOR", u.place.Part)
	if err != nil {
		u.b.put(c)
		return err
	}
	if u.start == 0 {
		u.longer = 0
	}
	u.data, u.release, u.exists = d, d.guard(u.ctx), true
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
	if u.data == nil && !u.exists && !u.committed {
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
	n, err := u.data.conn.size(u.ctx, u.place.Part)
	if want := max(u.at, u.longer); err == nil && n != want {
		err = fmt.Errorf("the ftp server kept %d of %d bytes; the rest is sent again", n, want)
	}
	if err != nil {
		return u.fail(err)
	}
	if n == u.object.Size {
		u.b.whole.Store(transfer.Handle(u.place.Part), nil)
	}
	u.letGo()
	u.failed = io.ErrClosedPipe
	return nil
}
