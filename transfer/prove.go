package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"
)

// provable reports whether a backend offers any way to see what arrived.
func provable(b Backend) bool {
	_, hashes := b.(Hasher)
	_, reads := b.(Reader)
	return hashes || reads
}

// unprovable makes an end of it when a server turns out to offer neither a checksum
// nor a way to read back: to send everything again would not help.
func unprovable(err error) error {
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return advise(ErrPermanent, err, "the server offers neither a checksum nor a way to read the file back, so nothing proves that it arrived whole. Allow reading there, or choose another destination.")
}

// prove compares what the server holds with what was sent: by the server's own
// checksum, else by reading everything back. What is read back is compared with the
// source byte by byte, which costs a tenth of hashing it; where the two differ,
// perhaps only because the source has changed since, the hash of what was sent
// decides.
func (d *delivery) prove(ctx context.Context, sum []byte) error {
	if want := d.it.rec.SHA256; d.it.rec.spooled() && want != fmt.Sprintf("%x", sum) {
		return advise(ErrSource, nil, "the spooled bytes of %q have changed on this disk since they were accepted. Check the disk, cancel the job and hand them over again.", d.it.rec.Object.Name)
	}
	got, err := d.serverHash(ctx, d.it.rec.Object.Size)
	if errors.Is(err, errors.ErrUnsupported) {
		same := false
		if same, err = d.compareBack(ctx); err == nil && same {
			return nil
		}
		if err == nil {
			got, err = d.hashBack(ctx)
		}
	}
	if err != nil {
		return unprovable(err)
	}
	if !bytes.Equal(got[:], sum) {
		return errMismatch
	}
	return nil
}

// serverHash asks the server for the checksum of the first n bytes. It gets time
// to read them at 10 MB/s.
func (d *delivery) serverHash(ctx context.Context, n int64) ([sha256.Size]byte, error) {
	h, ok := d.b.(Hasher)
	if !ok {
		return [sha256.Size]byte{}, errors.ErrUnsupported
	}
	call, stop := context.WithTimeout(ctx, d.q.cfg.Stall+time.Duration(n/10_000)*time.Millisecond)
	defer stop()
	return h.SHA256(call, d.it.rec.Object, d.it.rec.Handle, n)
}

// hashBack answers the hash of all that the server holds. A server that ends early
// holds less than it acknowledged: that is a mismatch, not a failure of the
// connection.
func (d *delivery) hashBack(ctx context.Context) (got [sha256.Size]byte, err error) {
	sum := sha256.New()
	n, err := d.eachBack(ctx, func(_ int64, b []byte) bool {
		sum.Write(b)
		return true
	})
	if err == nil && n < d.it.rec.Object.Size {
		err = errMismatch
	}
	sum.Sum(got[:0])
	return got, err
}

// compareBack reports whether the server holds the very bytes of the source.
func (d *delivery) compareBack(ctx context.Context) (bool, error) {
	size := d.it.rec.Object.Size
	buf := d.q.buffer(size)
	defer d.q.recycleOne(buf)
	n, err := d.eachBack(ctx, func(offset int64, got []byte) bool {
		want := buf[:len(got)]
		_, err := d.file.ReadAt(want, offset)
		return err == nil && bytes.Equal(got, want)
	})
	return n == size, err
}

// eachBack gives f what the server holds, in pieces of at most slice bytes, and
// answers how much of it f accepted before it answered false or the server ended.
func (d *delivery) eachBack(ctx context.Context, f func(offset int64, b []byte) bool) (n int64, err error) {
	size := d.it.rec.Object.Size
	if size == 0 {
		return 0, nil
	}
	r, err := d.readBack(ctx, d.it.rec.Object, d.it.rec.Handle, 0, size)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	buf := d.q.buffer(size)
	defer d.q.recycleOne(buf)
	for n < size && err == nil {
		var m int
		m, err = r.Read(buf[:min(int64(len(buf)), slice, size-n)])
		if m > 0 && !f(n, buf[:m]) {
			return n, nil
		}
		n += int64(m)
	}
	if err == io.EOF { //nolint:errorlint // a wrapped EOF is a failure, not the end
		err = nil
	}
	return n, err
}

// readBack opens a stream of the server's bytes that ends when nothing comes for
// the time of a stall.
func (d *delivery) readBack(ctx context.Context, o Object, h Handle, offset, n int64) (io.ReadCloser, error) {
	b, ok := d.b.(Reader)
	if !ok {
		return nil, advise(ErrPermanent, nil, "the destination offers neither a checksum nor a way to read %q back. Use another one.", o.Name)
	}
	ctx, give := context.WithCancelCause(ctx)
	t := time.AfterFunc(d.q.cfg.Stall, func() {
		give(fmt.Errorf("the server sent nothing back for %v", d.q.cfg.Stall))
	})
	r, err := b.ReadAt(ctx, o, h, offset, n)
	if err != nil {
		t.Stop()
		give(nil)
		return nil, because(ctx, err)
	}
	return &patient{r, t, d.q.cfg.Stall, ctx, give}, nil
}

// patient is a reader whose context ends when it gets nothing for too long.
type patient struct {
	io.ReadCloser
	timer    *time.Timer
	patience time.Duration
	ctx      context.Context
	give     context.CancelCauseFunc
}

func (p *patient) Read(b []byte) (int, error) {
	p.timer.Reset(p.patience)
	n, err := p.ReadCloser.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = because(p.ctx, err)
	}
	return n, err
}

func (p *patient) Close() error {
	p.timer.Stop()
	defer p.give(nil)
	return p.ReadCloser.Close()
}
