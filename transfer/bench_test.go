package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkCommit is the latency of a durable acceptance: one fsync.
func BenchmarkCommit(b *testing.B) {
	q := open(b, b.TempDir(), mem{offline()}, func(c *Config) { c.Concurrency = 1 })
	path := writeFile(b, "f", random(10))
	for b.Loop() {
		p, err := q.NewPackage("x", "d")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.AddFile(b.Context(), path, ""); err != nil {
			b.Fatal(err)
		}
		if _, err := p.Commit(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommitParallel shows how many share an fsync.
func BenchmarkCommitParallel(b *testing.B) {
	q := open(b, b.TempDir(), mem{offline()}, func(c *Config) { c.Concurrency = 1 })
	path := writeFile(b, "f", random(10))
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p, err := q.NewPackage("x", "d")
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := p.AddFile(context.Background(), path, ""); err != nil {
				b.Error(err)
				return
			}
			if _, err := p.Commit(context.Background()); err != nil {
				b.Error(err)
			}
		}
	})
}

// manyJobs writes a store with n jobs and answers its state directory.
func manyJobs(b *testing.B, n int) string {
	b.Helper()
	dir := b.TempDir()
	q := open(b, dir, mem{offline()})
	store := q.store.dir
	drain(b, q)
	jobs := make([]stored, n)
	for i := range jobs {
		jobs[i] = aJob()
		jobs[i].job.Sequence = uint64(i)
		jobs[i].job.State = Paused
	}
	if err := writeStore(filepath.Join(store, "new"), jobs); err != nil {
		b.Fatal(err)
	}
	if err := os.Rename(filepath.Join(store, "new"), filepath.Join(store, dbName)); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkList is a snapshot of 100,000 jobs of two items, all of them, the newest
// hundred, the oldest hundred, and those of a state that none has.
func BenchmarkList(b *testing.B) {
	q := open(b, manyJobs(b, 100_000), mem{offline()})
	oldest := q.Jobs()[100].ID
	for name, f := range map[string]Filter{
		"all": {}, "newest": {Limit: 100}, "oldest": {Limit: 100, Before: oldest}, "none": {States: []State{Done}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := q.List(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen is a restart with 100,000 jobs.
func BenchmarkOpen(b *testing.B) {
	dir := manyJobs(b, 100_000)
	for b.Loop() {
		q, err := Open(b.Context(), Config{Dir: dir, Backend: func(string) (Backend, error) { return mem{offline()}, nil }})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		drain(b, q)
		b.StartTimer()
	}
}

// BenchmarkAddReader spools 64 MiB; BenchmarkCopyHash is its lower bound, memory
// to memory.
func BenchmarkAddReader(b *testing.B) {
	q := open(b, b.TempDir(), mem{offline()})
	data := random(64 << 20)
	b.SetBytes(int64(len(data)))
	p := newPackage(b, q)
	for b.Loop() {
		it, err := p.AddReader(b.Context(), "x", bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := p.Remove(it.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkCopyHash(b *testing.B) {
	data, buf := random(64<<20), make([]byte, pieceSize)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		h := sha256.New()
		for r := bytes.NewReader(data); ; {
			n, err := r.Read(buf)
			if err == io.EOF {
				break
			}
			h.Write(buf[:n])
		}
		h.Sum(nil)
	}
}

// void is a server that keeps nothing but the hash.
type void struct{ mem }

func (void) Open(context.Context, Object, Handle, int64) (Upload, error) { return voidUpload{}, nil }
func (void) Commit(context.Context, Object, Handle) error                { return nil }

func (void) SHA256(context.Context, Object, Handle, int64) (sum [32]byte, err error) { return sum, nil }

type voidUpload struct{}

func (voidUpload) Offset() int64               { return 0 }
func (voidUpload) Write(b []byte) (int, error) { return len(b), nil }
func (voidUpload) Close() error                { return nil }

// BenchmarkSend is what the queue itself costs per byte: reading a file of 256
// MiB, hashing it, and its progress record, to a server that takes no time.
func BenchmarkSend(b *testing.B) {
	s := newServer()
	q := open(b, b.TempDir(), void{mem{s}})
	path := writeFile(b, "f", random(256<<20))
	b.SetBytes(256 << 20)
	for b.Loop() {
		p := newPackage(b, q)
		if _, err := p.AddFile(b.Context(), path, ""); err != nil {
			b.Fatal(err)
		}
		j, err := p.Commit(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		await(b, q, j.ID, func(j Job) bool { return j.BytesDone() == j.BytesTotal() })
		b.StopTimer()
		if err := q.Cancel(j.ID); err != nil { // the void proves nothing
			b.Fatal(err)
		}
		await(b, q, j.ID, in(Canceled))
		b.StartTimer()
	}
}

// BenchmarkSmallItems delivers a package of 200 items of 32 KiB.
func BenchmarkSmallItems(b *testing.B) {
	s := newServer()
	q := open(b, b.TempDir(), hashing{mem{s}})
	path := writeFile(b, "f", random(32<<10))
	b.SetBytes(200 * 32 << 10)
	for b.Loop() {
		p := newPackage(b, q)
		for range 200 {
			if _, err := p.AddFile(b.Context(), path, ""); err != nil {
				b.Fatal(err)
			}
		}
		j, err := p.Commit(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		await(b, q, j.ID, in(Done))
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/200, "ms/item")
}
