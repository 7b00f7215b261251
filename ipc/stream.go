package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// chunk is the size of the pieces that a stream travels in: large enough for the
// cost of a message to vanish, small enough that a window of them stays in the cache
// (1 MiB at a time: 15.2 GB/s in pieces of 64 KiB, 12.0 in pieces of 256 KiB).
const chunk = 64 << 10

// Writer sends a stream of any length as a row of messages. Close says that all has been
// written, and the session stays open. Who can't write all calls Abandon, and Session.Fail
// or Session.Close, so that the other side learns of it: never "defer w.Close()", which
// makes a stream that broke off look whole. One of the two must be called, or the piece that
// was begun stays allocated. Not safe for concurrent use.
type Writer struct {
	s   *Session
	ctx context.Context
	p   *Parcel
	n   int // bytes of p that are filled
	err error
}

// Writer starts a stream to the other side. ctx ends its waits for memory.
func (s *Session) Writer(ctx context.Context) *Writer { return &Writer{s: s, ctx: ctx} }

// Write copies b into shared memory. io.ErrClosedPipe: the other side has closed the
// session; the other errors are those of Session.Alloc and Session.Send.
func (w *Writer) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		if err := w.ensure(); err != nil {
			return done, err
		}
		n, err := carry(w.p.shared(), w.p.data[w.n:], nil, b[done:], 0)
		if err != nil {
			return done, w.fail(err)
		}
		if w.n, done = w.n+n, done+n; w.n == len(w.p.Bytes()) {
			w.flush(0)
		}
	}
	return done, nil
}

// ReadFrom reads r to its end straight into shared memory.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	var total int64
	for {
		if err := w.ensure(); err != nil {
			return total, err
		}
		n, err := readInto(w.s.l, w.p.data[w.n:], r)
		w.n, total = w.n+n, total+int64(n)
		if errors.Is(err, ErrFault) && w.s.l.cause() != nil {
			return total, w.fail(err)
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// fail gives up the piece whose memory has vanished.
func (w *Writer) fail(err error) error {
	w.p.Release()
	w.p, w.err = nil, err
	return err
}

// ensure makes room for at least one byte.
func (w *Writer) ensure() error {
	if w.p != nil && w.n == len(w.p.Bytes()) {
		w.flush(0)
	}
	if w.p == nil && w.err == nil {
		w.n = 0
		w.p, w.err = w.s.Alloc(w.ctx, min(chunk, w.s.l.largest))
	}
	return w.err
}

func (w *Writer) flush(flags uint8) {
	p := w.p
	w.p = nil
	if w.err = w.s.send(w.ctx, p, flags, 0); errors.Is(w.err, io.EOF) {
		// As an answer of Write io.EOF would pass for the end of what is copied.
		w.err = fmt.Errorf("stream to %s/%s: the other side has closed: %w", w.s.peer, w.s.service, io.ErrClosedPipe)
	}
}

// Close sends what is left and ends the stream.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	if w.p == nil {
		if w.p, w.err = w.s.Alloc(w.ctx, 0); w.err != nil {
			return w.err
		}
		w.n = 0
	} else {
		w.p.Shorten(w.n)
	}
	if w.flush(flagEnd); w.err != nil {
		return w.err
	}
	w.err = ErrClosed
	return nil
}

// Abandon gives the unsent rest back without ending the stream.
func (w *Writer) Abandon() {
	if w.p != nil {
		w.p.Release()
		w.p = nil
	}
	if w.err == nil {
		w.err = ErrClosed
	}
}

// Reader reads the stream that the other side writes. Each byte is copied out of
// shared memory once, so that what the caller checks is what it uses. Not safe for
// concurrent use.
//
// Who doesn't read to the end calls Close: until then, or until this side closes the
// session, as the end of a Handler does, the message that was begun stays mapped and on
// the account, also when its sender has gone.
type Reader struct {
	s   *Session
	ctx context.Context

	mu    sync.Mutex // held while m is read: the end of the session releases it
	m     *Message
	off   int
	err   error
	known bool // to s
}

// Reader reads the next stream of the session. ctx ends its waits.
func (s *Session) Reader(ctx context.Context) *Reader { return &Reader{s: s, ctx: ctx} }

// Read answers io.EOF at the end of the stream, and io.ErrUnexpectedEOF when the
// other side closed before it. That the other side is short of memory for a while
// (ErrStarved) is no end of a stream.
func (r *Reader) Read(b []byte) (int, error) {
	for {
		n, dry, err := r.take(b)
		if !dry {
			return n, err
		}
		r.fetch()
	}
}

// take reads what has come; dry: nothing has.
func (r *Reader) take(b []byte) (n int, dry bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.m != nil && len(b) > 0 {
		if r.off == len(r.m.data) {
			r.next()
			continue
		}
		if n, err = carry(nil, b, r.m.shared(), r.m.data[r.off:], len(b)); err != nil {
			r.end(err)
			return 0, false, err
		}
		if r.off += n; r.off == len(r.m.data) {
			r.next()
		}
		return n, false, nil
	}
	return 0, r.m == nil && r.err == nil, r.err
}

// fetch waits for the next message. The session knows of r before: it may be closed as
// soon as the message is here.
func (r *Reader) fetch() {
	if !r.known {
		r.known = true
		r.s.know(r)
	}
	m, err := r.s.message(r.ctx)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.end(err)
	case r.err != nil: // ended meanwhile
		m.Release()
	default:
		r.m, r.off = m, 0
	}
}

// next lets go of a message that has been read. The caller holds mu.
func (r *Reader) next() {
	if r.m.End() {
		r.end(io.EOF)
		return
	}
	r.m.Release()
	r.m = nil
}

// Close gives back what was received and not read.
func (r *Reader) Close() error {
	r.stop(ErrClosed)
	return nil
}

// stop is end for who doesn't hold mu.
func (r *Reader) stop(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end(err)
}

// end has r hold nothing and answer err, or what it has answered already. The caller
// holds mu.
func (r *Reader) end(err error) {
	if r.m != nil {
		r.m.Release()
		r.m = nil
	}
	if r.err == nil {
		r.err = err
		r.s.unknow(r)
	}
}

// know has r end with the session.
func (s *Session) know(r *Reader) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.readers = append(s.readers, r)
}

// unknow takes r off the list, if it is there.
func (s *Session) unknow(r *Reader) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if i := slices.Index(s.readers, r); i >= 0 {
		s.readers = slices.Delete(s.readers, i, i+1)
	}
}
