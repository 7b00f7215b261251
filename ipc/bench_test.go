package ipc

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
)

// The peers of these benchmarks are real processes. Everything that is compared
// runs in one go: make bench, or go test -bench . ./ipc

var benchSizes = []int{4 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20}

func sizeName(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}

// sink copies out what it gets and answers every message that ends a stream.
func sink(ctx context.Context, s *Session) {
	buf := make([]byte, 64<<20)
	for {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		copy(buf, m.Bytes())
		end := m.End()
		m.Release()
		if end && s.SendBytes(ctx, []byte("done")) != nil {
			return
		}
	}
}

// look only looks at the first byte of what it gets.
func look(ctx context.Context, s *Session) {
	for {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		request := m.Request()
		if request {
			p, err := s.Alloc(ctx, 1)
			if err != nil {
				return
			}
			p.Bytes()[0] = m.Bytes()[0]
			if s.Reply(ctx, m, p) != nil {
				return
			}
		}
		m.Release()
	}
}

// playPeer is the other process of a benchmark of a socket: it reads messages of
// the size that the first eight bytes say, and answers each one byte, or echoes.
func playPeer(network, address string) int {
	c, err := net.Dial(network, address)
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println("ready")
	head := make([]byte, 16)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return 0
		}
		size, count := le.Uint64(head), le.Uint64(head[8:])
		buf := make([]byte, size)
		for range count {
			if _, err := io.ReadFull(c, buf); err != nil {
				return 0
			}
			if size <= 64 {
				if _, err := c.Write(buf); err != nil {
					return 0
				}
			}
		}
		if size > 64 {
			if _, err := c.Write(head[:1]); err != nil {
				return 0
			}
		}
	}
}

func benchClient(b *testing.B, service string) *Session {
	b.Helper()
	e := testEngine(b, Options{})
	startCompanion(b, e, "bench", "peer")
	s, err := e.Open(context.Background(), "peer/"+service, nil)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkRoundTrip64(b *testing.B) {
	b.Run("berth", func(b *testing.B) {
		s := benchClient(b, "echo")
		ctx := context.Background()
		b.ReportAllocs()
		for b.Loop() {
			p, err := s.Alloc(ctx, 64)
			if err != nil {
				b.Fatal(err)
			}
			m, err := s.Call(ctx, p)
			if err != nil {
				b.Fatal(err)
			}
			m.Release()
		}
	})
	for _, network := range []string{"tcp", "unix"} {
		b.Run(network, func(b *testing.B) {
			c := benchSocket(b, network)
			buf := make([]byte, 64)
			head := make([]byte, 16)
			le.PutUint64(head, 64)
			le.PutUint64(head[8:], 1<<62)
			mustWrite(b, c, head)
			for b.Loop() {
				mustWrite(b, c, buf)
				if _, err := io.ReadFull(c, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func mustWrite(b *testing.B, c net.Conn, data []byte) {
	if _, err := c.Write(data); err != nil {
		b.Fatal(err)
	}
}

func benchSocket(b *testing.B, network string) net.Conn {
	b.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(b.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	startPeer(b, "socket", l.Addr().String(), network)
	c, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// BenchmarkCopyInCopyOut is from one program's own buffer into another's.
func BenchmarkCopyInCopyOut(b *testing.B) {
	for _, size := range benchSizes {
		src := make([]byte, size)
		fill(src, 1)
		b.Run("berth/"+sizeName(size), func(b *testing.B) { benchBerth(b, src) })
		for _, network := range []string{"tcp", "unix"} {
			b.Run(network+"/"+sizeName(size), func(b *testing.B) { benchStream(b, network, src) })
		}
		b.Run("memcpy/"+sizeName(size), func(b *testing.B) {
			dst := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				copy(dst, src)
			}
		})
	}
}

func benchBerth(b *testing.B, src []byte) {
	s := benchClient(b, "sink")
	ctx := context.Background()
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	w := s.Writer(ctx)
	for b.Loop() {
		if len(src) >= chunk {
			if _, err := w.Write(src); err != nil {
				b.Fatal(err)
			}
			continue
		}
		p, err := s.Alloc(ctx, len(src))
		if err != nil {
			b.Fatal(err)
		}
		copy(p.Bytes(), src)
		if err := s.Send(ctx, p); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	if _, err := s.Recv(ctx); err != nil {
		b.Fatal(err)
	}
}

func benchStream(b *testing.B, network string, src []byte) {
	c := benchSocket(b, network)
	head := make([]byte, 16)
	le.PutUint64(head, uint64(len(src)))
	b.SetBytes(int64(len(src)))
	n := 0
	for b.Loop() {
		le.PutUint64(head[8:], 1)
		if n++; n == 1 {
			le.PutUint64(head[8:], 1<<62)
			mustWrite(b, c, head)
		}
		mustWrite(b, c, src)
	}
}

// BenchmarkHandOff is the time until the other side has seen a parcel that was
// filled before, whatever its size.
func BenchmarkHandOff(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20, 64 << 20, 512 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			s := benchClient(b, "look")
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				p, err := s.Alloc(ctx, size)
				if err != nil {
					b.Fatal(err)
				}
				p.Bytes()[0] = 7
				m, err := s.Call(ctx, p)
				if err != nil {
					b.Fatal(err)
				}
				if m.Bytes()[0] != 7 {
					b.Fatal("wrong byte")
				}
				m.Release()
			}
		})
	}
}

func BenchmarkAlloc(b *testing.B) {
	e := testEngine(b, Options{})
	c := testClient(b, e, "outlook")
	for _, n := range []int{maxInline, 4096, 65536, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := c.TryAlloc(n)
				if err != nil {
					b.Fatal(err)
				}
				p.Release()
			}
		})
	}
}
