package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
)

// pieceSize is how much is read, hashed and written at a time, by the spool and
// by uploads. Two such buffers overlap reading and hashing with writing.
const pieceSize = 512 << 10

// spooled is what went into a spool file.
type spooled struct {
	size   int64
	sha256 string
}

// spool copies r to a new file at path, reading each byte once: the hash is of
// exactly what was written. When it succeeds the bytes are on the disk; when it
// fails there is no file.
func (q *Queue) spool(ctx context.Context, path string, r io.Reader) (s spooled, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return s, err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(path)
		}
	}()
	if s, err = q.copyHashed(ctx, f, r); err != nil {
		return s, err
	}
	return s, f.Sync()
}

// copyHashed reads and hashes in this goroutine while another one writes the
// piece before. It stops reading soon after a write has failed.
func (q *Queue) copyHashed(ctx context.Context, w io.Writer, r io.Reader) (s spooled, err error) {
	free, full, written := make(chan []byte, 2), make(chan []byte, 2), make(chan error, 1)
	for range 2 {
		buf := q.buffer(pieceSize)
		defer q.recycleOne(buf) // by then nobody writes it any more
		free <- buf
	}
	go func() { written <- writePieces(w, full, free) }()
	h := sha256.New()
	for buf := range free {
		var n int
		n, err = fill(ctx, r, buf)
		if n > 0 {
			h.Write(buf[:n])
			s.size += int64(n)
			full <- buf[:n]
		}
		if err != nil {
			break
		}
	}
	close(full)
	s.sha256 = hex.EncodeToString(h.Sum(nil))
	if werr := <-written; werr != nil {
		return s, werr
	}
	if err == io.EOF { //nolint:errorlint // a wrapped EOF is a failure, not the end
		err = nil
	}
	return s, err
}

// writePieces writes until full is closed or a write fails, then closes free.
func writePieces(w io.Writer, full <-chan []byte, free chan<- []byte) error {
	defer close(free)
	for b := range full {
		if _, err := w.Write(b); err != nil {
			return err
		}
		free <- b[:pieceSize]
	}
	return nil
}

// fill reads until buf is full. Only io.EOF is an end: a stream that was cut
// short (io.ErrUnexpectedEOF) must not become a shorter file.
func fill(ctx context.Context, r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		if err = ctx.Err(); err != nil {
			return n, err
		}
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}
