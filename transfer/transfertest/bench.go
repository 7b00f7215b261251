package transfertest

import (
	"sync"
	"sync/atomic"
	"testing"

	"berth/transfer"
)

// BenchSize is what [Bench] uploads each time: 1 GiB.
const BenchSize = 1 << 30

// Bench measures uploads of 1 GiB from memory, in the writes that the queue
// makes. Begin, Open and Commit are part of it; Abort is not.
func Bench(b *testing.B, backend transfer.Backend) {
	o, buf := NewObject("bench.bin", 256<<10)
	o.Size = BenchSize
	b.SetBytes(BenchSize)
	b.ReportAllocs()
	for b.Loop() {
		h, err := once(b, backend, o, buf)
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		if err := backend.Abort(b.Context(), o, h); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func once(b *testing.B, backend transfer.Backend, o transfer.Object, buf []byte) (transfer.Handle, error) {
	ctx := b.Context()
	h, err := backend.Begin(ctx, o)
	if err != nil {
		return h, err
	}
	u, err := backend.Open(ctx, o, h, o.Size)
	if err != nil {
		return h, err
	}
	for n := u.Offset(); n < o.Size; n += int64(len(buf)) {
		if _, err := u.Write(buf); err != nil {
			_ = u.Close()
			return h, err
		}
	}
	if err := u.Close(); err != nil {
		return h, err
	}
	return h, backend.Commit(ctx, o, h)
}

// BenchSmall measures 2,000 files of 32 KiB each time, eight at once.
func BenchSmall(b *testing.B, backend transfer.Backend) {
	const files, size, workers = 2000, 32 << 10, 8
	buf := make([]byte, size)
	b.SetBytes(files * size)
	for b.Loop() {
		var left atomic.Int64
		left.Store(files)
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					o, _ := NewObject("small.bin", 0)
					o.Size = size
					if _, err := once(b, backend, o, buf); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}
