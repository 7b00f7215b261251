package transfer

import (
	"context"
	"hash"
	"io"
	"time"
)

// piece is what one Write gets, with the state of the hash after it.
type piece struct {
	buf   []byte
	state [hashState]byte
	err   error
}

// stream sends the source from offset. One goroutine reads and hashes a piece
// while the one before is being sent.
func (d *delivery) stream(ctx context.Context, w io.Writer, offset int64, sum hash.Hash, resent int64) error {
	free, full := make(chan []byte, 2), make(chan piece)
	left := d.it.rec.Object.Size - offset
	free <- d.q.buffer(left)
	free <- d.q.buffer(left)
	ctx, stop := context.WithCancel(ctx)
	defer d.q.recycle(free) // after the reader has gone: see the order of defers
	gone := make(chan struct{})
	defer func() { stop(); <-gone }()
	m := mark{offset: offset, tried: offset, resent: resent, confirmed: offset, state: saveHash(sum)}
	if err := d.rec.add(m); err != nil {
		close(gone)
		return diskError("writing a progress record", d.q.cfg.Dir, err)
	}
	go func() {
		defer close(gone)
		d.read(ctx, offset, sum, free, full)
	}()
	for p := range full {
		if p.err != nil {
			return p.err
		}
		if err := d.sendPiece(w, &m, p); err != nil {
			return err
		}
		free <- p.buf
	}
	return ctx.Err()
}

// sendPiece writes one piece between two progress records: the first says that
// its bytes may be on the server, the second vouches for them.
func (d *delivery) sendPiece(w io.Writer, m *mark, p piece) error {
	m.tried = m.offset + int64(len(p.buf))
	if err := d.rec.add(*m); err != nil {
		return diskError("writing a progress record", d.q.cfg.Dir, err)
	}
	if _, err := w.Write(p.buf); err != nil {
		return err
	}
	m.offset, m.state = m.tried, p.state
	if err := d.rec.add(*m); err != nil {
		return diskError("writing a progress record", d.q.cfg.Dir, err)
	}
	d.q.moved(d.j, d.it, *m, int64(len(p.buf)))
	return nil
}

// read fills pieces from the source, hashing them, until its size is reached.
func (d *delivery) read(ctx context.Context, offset int64, sum hash.Hash, free <-chan []byte, full chan<- piece) {
	defer close(full)
	size := d.it.rec.Object.Size
	for offset < size {
		var buf []byte
		select {
		case buf = <-free:
		case <-ctx.Done():
			return
		}
		p := piece{buf: buf[:min(int64(cap(buf)), size-offset)]}
		if p.err = d.readAt(p.buf, offset); p.err == nil {
			sum.Write(p.buf)
			p.state = saveHash(sum)
		}
		select {
		case full <- p:
		case <-ctx.Done():
			return
		}
		offset += int64(len(p.buf))
		if p.err != nil {
			return
		}
	}
}

// readAt reads the source; an early end means that it has become shorter.
func (d *delivery) readAt(b []byte, offset int64) error {
	_, err := d.file.ReadAt(b, offset)
	if err == nil || err == io.EOF && len(b) == 0 {
		return nil
	}
	if err != io.EOF {
		return sourceError(d.file.Name(), err)
	}
	if err := d.unchanged(); err != nil {
		return err
	}
	return sourceError(d.file.Name(), io.ErrUnexpectedEOF)
}

// moved tells watchers of progress, not more often than they can use.
func (q *Queue) moved(j *job, it *item, m mark, n int64) {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	it.done, it.resent = m.offset, m.resent
	j.rate.add(n, now)
	j.retry.progressed()
	q.tellSoon(j, now)
}
