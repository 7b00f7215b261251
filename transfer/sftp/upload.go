package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pkg/sftp"

	"berth/transfer"
	"berth/transfer/internal/peer"
)

// Open answers an upload at the server's offset or at limit, whichever is less.
func (b *Backend) Open(ctx context.Context, o transfer.Object, h transfer.Handle, limit int64) (transfer.Upload, error) {
	r, fresh, err := b.tree.Recall(o, h)
	u := &upload{b: b, ctx: ctx, object: o, Remains: r}
	if err == nil && !fresh {
		err = b.with(ctx, func(c *conn) (err error) {
			u.Remains, err = b.tree.Find(ctx, c, o, h)
			u.start = u.safe(c, limit)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	u.at = u.start
	return u, nil
}

// safe is where to go on. OpenSSH writes requests in the order they were sent in, and
// so do we: the length of its file is what it holds. A server that writes several at
// a time may have left holes in the last of them, unless it acknowledged them all.
func (u *upload) safe(c *conn, limit int64) int64 {
	switch {
	case u.Committed:
		return u.object.Size
	case c.openSSH || u.b.tree.Held(u.Place.Part, u.Length):
		return min(u.Length, limit)
	}
	return max(0, min(u.Length-inFlight*smallPacket, limit))
}

// upload is one open file, from the first Write to Close.
type upload struct {
	peer.Remains
	b      *Backend
	ctx    context.Context
	object transfer.Object
	start  int64
	at     int64 // where the next byte goes
	stream *stream
	failed error
}

// stream feeds an open file by requests that overlap, in order.
type stream struct {
	conn    *conn
	file    *sftp.File
	body    *io.PipeWriter
	ended   chan error // the one result of the feeding goroutine
	silence *time.Timer
	release func() bool
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
	if u.stream == nil {
		if err := u.connect(); err != nil {
			return 0, u.fail(err)
		}
	}
	n, err := u.stream.write(p)
	u.at += int64(n)
	if err != nil {
		return n, u.fail(err)
	}
	return n, nil
}

// write hands p to the requests, unless the server is silent for too long.
func (s *stream) write(p []byte) (int, error) {
	s.silence.Reset(s.conn.patience)
	defer s.silence.Stop()
	return s.body.Write(p)
}

// connect opens the file, cuts off what lies behind the offset, and starts to
// feed it.
func (u *upload) connect() error {
	c, err := u.b.get(u.ctx)
	if err != nil {
		return err
	}
	release := c.guard(u.ctx)
	f, err := u.openFile(c)
	release()
	if err != nil {
		err = c.explain(u.ctx, err)
		u.b.put(c)
		return err
	}
	u.b.tree.Touch(u.Place.Part)
	r, w := io.Pipe()
	u.Exists = true
	s := &stream{
		conn: c, file: f, body: w, ended: make(chan error, 1),
		silence: time.AfterFunc(c.patience, func() { c.Close() }),
		release: context.AfterFunc(u.ctx, func() { c.Close() }),
	}
	u.stream = s
	go func() {
		_, err := f.ReadFromWithConcurrency(r, c.requests)
		s.ended <- err
		r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	}()
	return nil
}

func (u *upload) openFile(c *conn) (*sftp.File, error) {
	flags := os.O_WRONLY | os.O_CREATE
	if u.start == 0 {
		flags |= os.O_TRUNC
	}
	f, err := c.sftp.OpenFile(u.Place.Part, flags)
	if err != nil {
		return nil, fmt.Errorf("opening the file: %w", err)
	}
	if u.start > 0 {
		err = f.Truncate(u.start)
		if err == nil {
			_, err = f.Seek(u.start, io.SeekStart)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("continuing at %d: %w", u.start, err), f.Close())
	}
	return f, nil
}

// fail remembers the first error and lets go of the connection.
func (u *upload) fail(err error) error {
	if s := u.stream; s != nil {
		u.stream = nil
		s.body.CloseWithError(err)
		s.conn.Close()
		if cause := <-s.ended; cause != nil && !errors.Is(err, transfer.ErrPermanent) {
			err = cause // what the server said, not what the pipe saw
		}
		s.stop()
		err = s.conn.explain(u.ctx, err)
	}
	if u.failed == nil {
		u.failed = err
	}
	return u.failed
}

func (s *stream) stop() {
	s.silence.Stop()
	s.release()
}

// Close waits until the server acknowledged every request.
func (u *upload) Close() error {
	if u.failed != nil {
		return u.failed
	}
	if u.stream == nil && !u.Exists && !u.Committed {
		if err := u.connect(); err != nil { // an empty file is a file too
			return u.fail(err)
		}
	}
	if u.stream == nil {
		u.failed = io.ErrClosedPipe
		return nil
	}
	s := u.stream
	s.silence.Reset(s.conn.patience)
	if err := u.settle(s); err != nil {
		return u.fail(err)
	}
	u.stream = nil
	s.stop()
	u.b.tree.Holds(u.Place.Part, u.at)
	u.b.put(s.conn)
	u.failed = io.ErrClosedPipe
	return nil
}

func (u *upload) settle(s *stream) error {
	s.body.Close()
	err := <-s.ended
	s.ended <- err
	if err != nil {
		return err
	}
	st, err := s.file.Stat()
	if err := errors.Join(err, s.file.Close()); err != nil {
		return err
	}
	if st.Size() != u.at {
		return fmt.Errorf("the sftp server kept %d of %d bytes; the rest is sent again", st.Size(), u.at)
	}
	return nil
}
