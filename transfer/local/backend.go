package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"

	"berth/transfer"
	"berth/transfer/tus"
)

// Backend uploads to a Server of the same process: the bytes go over tus, as
// they would to any server, and what tus has no words for (making an object
// durable, hashing it, reading it back) is done on the files. Close the Server to
// close it.
type Backend struct {
	server *Server
	tus    *tus.Backend
}

// Backend answers the backend of this server.
func (s *Server) Backend() *Backend { return &Backend{server: s, tus: s.upload} }

// handle is the object's tus address. What the queue stores is the ID alone.
func (b *Backend) handle(o transfer.Object) transfer.Handle {
	return transfer.Handle(uploadURL + o.ID)
}

// Begin creates the object or empties an unfinished one; a finished one stays.
func (b *Backend) Begin(ctx context.Context, o transfer.Object) (transfer.Handle, error) {
	if !validID(o.ID) {
		return "", fmt.Errorf("%w: %q is no object ID", transfer.ErrPermanent, o.ID)
	}
	if rec, err := b.server.store.committed(o.ID); err == nil {
		return b.again(o, rec)
	}
	if _, err := b.tus.Begin(ctx, o); err != nil {
		return "", err
	}
	return transfer.Handle(o.ID), b.server.store.keep(o.ID)
}

// again answers a Begin for an object that is finished already.
func (b *Backend) again(o transfer.Object, rec record) (transfer.Handle, error) {
	if rec.Name != o.Name || rec.Size != o.Size {
		return "", fmt.Errorf("%w: another object has the same ID", transfer.ErrExists)
	}
	return transfer.Handle(o.ID), nil
}

// Open continues at the server's offset; like every tus server it can't rewind.
func (b *Backend) Open(ctx context.Context, o transfer.Object, h transfer.Handle, limit int64) (transfer.Upload, error) {
	if h != transfer.Handle(o.ID) || !b.server.store.known(o.ID) {
		return nil, transfer.ErrGone
	}
	return b.tus.Open(ctx, o, b.handle(o), limit)
}

// Commit makes the object durable and its link work.
func (b *Backend) Commit(ctx context.Context, o transfer.Object, h transfer.Handle) error {
	if h != transfer.Handle(o.ID) || !validID(o.ID) {
		return transfer.ErrGone
	}
	// Forcing a gigabyte to disk can't be cancelled, but it needn't be waited for:
	// commit is atomic and may be called again.
	done := make(chan error, 1)
	go func() { done <- b.server.store.commit(ctx, o) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Abort removes the object, finished or not.
func (b *Backend) Abort(ctx context.Context, o transfer.Object, _ transfer.Handle) error {
	if !validID(o.ID) {
		return nil
	}
	// tus ends an upload that is still running before the files go.
	if err := b.tus.Abort(ctx, o, b.handle(o)); err != nil && ctx.Err() != nil {
		return err
	}
	return b.server.store.remove(o.ID)
}

// Link is known before the first byte is sent.
func (b *Backend) Link(o transfer.Object, _ transfer.Handle) (string, bool) {
	return b.server.Base() + "/" + o.ID + "/" + url.PathEscape(o.Name), true
}

// Probe asks the server, which lives in this process.
func (b *Backend) Probe(ctx context.Context) error { return b.tus.Probe(ctx) }

// SHA256 hashes the beginning of the server's own file. The whole of it is read back
// instead, as the queue does on errors.ErrUnsupported: both files are on this
// machine, and comparing them takes a third of the time of hashing one.
func (b *Backend) SHA256(ctx context.Context, o transfer.Object, h transfer.Handle, n int64) (sum [32]byte, err error) {
	if n == o.Size {
		return sum, errors.ErrUnsupported
	}
	r, err := b.ReadAt(ctx, o, h, 0, n)
	if err != nil {
		return sum, err
	}
	defer r.Close()
	hash := sha256.New()
	m, err := io.CopyBuffer(hash, r, make([]byte, 256<<10))
	if err == nil && m != n {
		err = fmt.Errorf("the local store holds %d of %d bytes", m, n)
	}
	if err != nil {
		return sum, err
	}
	return [32]byte(hash.Sum(nil)), nil
}

// ReadAt reads the server's own file.
func (b *Backend) ReadAt(ctx context.Context, o transfer.Object, h transfer.Handle, offset, n int64) (io.ReadCloser, error) {
	if h != transfer.Handle(o.ID) || !validID(o.ID) {
		return nil, transfer.ErrGone
	}
	f, err := os.Open(b.server.store.data(o.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, transfer.ErrGone
	}
	if err != nil {
		return nil, err
	}
	return &section{ctx, io.NewSectionReader(f, offset, n), f}, nil
}

// section ends with its context, between two reads of the disk.
type section struct {
	ctx context.Context
	r   *io.SectionReader
	f   *os.File
}

func (s *section) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

func (s *section) Close() error { return s.f.Close() }
