package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

// tailSize is how much of a prefix is read back where no checksum is offered.
const tailSize = 64 << 10

// resume checks that the server's first offset bytes are those of the source and
// answers the hash of that prefix, to go on from.
func (d *delivery) resume(ctx context.Context, offset int64) (hash.Hash, error) {
	if offset < 0 || offset > d.it.rec.Object.Size {
		return nil, errForeign
	}
	sum, err := d.hashPrefix(ctx, offset)
	if err != nil || offset == 0 {
		return sum, err
	}
	var want [sha256.Size]byte
	sum.Sum(want[:0])
	o, h := d.it.rec.Object, d.it.rec.Handle
	if got, err := d.serverHash(ctx, offset); err == nil && got != want {
		return nil, errForeign
	} else if err == nil || !errors.Is(err, errors.ErrUnsupported) {
		return sum, err
	}
	n := min(offset, tailSize)
	tail := make([]byte, n)
	if err := d.readAt(tail, offset-n); err != nil {
		return nil, err
	}
	same, err := d.compare(ctx, o, h, offset-n, tail)
	if err == nil && !same {
		err = errForeign
	}
	return sum, unprovable(err)
}

// hashPrefix answers the hash of the source's first offset bytes, starting from
// the newest state on record that is not beyond it.
func (d *delivery) hashPrefix(ctx context.Context, offset int64) (hash.Hash, error) {
	sum, from := sha256.New(), int64(0)
	if m, ok := d.rec.at(offset); ok {
		if saved, err := loadHash(m.state); err == nil {
			sum, from = saved, m.offset
		}
	}
	buf := d.q.buffer(offset)
	defer d.q.recycleOne(buf)
	for from < offset {
		b := buf[:min(int64(len(buf)), offset-from)]
		if err := errors.Join(ctx.Err(), d.readAt(b, from)); err != nil {
			return nil, err
		}
		sum.Write(b)
		from += int64(len(b))
	}
	return sum, nil
}

// compare reads the server's bytes back and compares them.
func (d *delivery) compare(ctx context.Context, o Object, h Handle, offset int64, want []byte) (bool, error) {
	r, err := d.readBack(ctx, o, h, offset, int64(len(want)))
	if err != nil {
		return false, err
	}
	defer r.Close()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil // the server holds less than it said
		}
		return false, err
	}
	return bytes.Equal(got, want), nil
}
