package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"berth/ipc"
)

const (
	pingSize = 64       // bytes of a message in a round trip
	burst    = 64 << 20 // bytes that are sent between two looks at the clock
)

// benchSizes are the messages whose throughput is measured.
func benchSizes() []int { return []int{4 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20} }

// senderOptions are the flags of `bench-sender`.
type senderOptions struct {
	each              time.Duration
	engine, tcp, unix string
	json              bool
}

func (s *simulator) senderCommand() *cobra.Command {
	var o senderOptions
	c := child("bench-sender", "The measuring process of `bench`", func(ctx context.Context) error { return s.sender(ctx, o) })
	f := c.Flags()
	f.DurationVar(&o.each, "for", time.Second, "")
	f.StringVar(&o.engine, "engine", "", "")
	f.StringVar(&o.tcp, "tcp", "", "")
	f.StringVar(&o.unix, "unix", "", "")
	f.BoolVar(&o.json, "json", false, "")
	return c
}

// transport is one way from user memory to user memory in another process.
type transport interface {
	ping(b []byte) error            // there and back
	send(b []byte, count int) error // until the other side has copied all
}

func (s *simulator) sender(ctx context.Context, o senderOptions) error {
	ordinaryTurns()
	c, err := ipc.Dial(ctx, o.engine, "bench")
	if err != nil {
		return err
	}
	defer c.Close()
	names, ways, err := transports(ctx, c, o)
	if err != nil {
		return err
	}
	t := &benchTable{out: s.out, names: names, json: o.json}
	if err := t.head(); err != nil {
		return err
	}
	if err := pingRows(t, ways, o.each); err != nil {
		return err
	}
	for _, size := range benchSizes() {
		if err := throughputRow(t, ways, size, o.each); err != nil {
			return err
		}
	}
	for _, size := range []int{4 << 10, 64 << 20} {
		if err := handOverRow(ctx, t, c, size, o.each); err != nil {
			return err
		}
	}
	return nil
}

func transports(ctx context.Context, c *ipc.Client, o senderOptions) (names []string, ways []transport, err error) {
	s, err := c.Open(ctx, ipc.Controller+"/copy", nil)
	if err != nil {
		return nil, nil, err
	}
	names, ways = []string{"berth", "memcpy"}, []transport{&memoryWay{ctx, s}, &copyWay{}}
	for _, way := range []struct{ name, network, address string }{{"tcp", "tcp4", o.tcp}, {"unix", "unix", o.unix}} {
		if way.address == "" {
			continue
		}
		conn, err := net.Dial(way.network, way.address)
		if err != nil {
			return nil, nil, err
		}
		names, ways = append(names, way.name), append(ways, &socketWay{conn: conn})
	}
	return names, ways, nil
}

// pingRows measures there and back again.
func pingRows(t *benchTable, ways []transport, each time.Duration) error {
	var half, most []float64
	for _, w := range ways {
		times, err := pings(w, each)
		if err != nil {
			return err
		}
		half, most = append(half, micro(times[len(times)/2])), append(most, micro(times[len(times)*99/100]))
	}
	if err := t.row("round trip, p50", "microseconds", pingSize, half); err != nil {
		return err
	}
	return t.row("round trip, p99", "microseconds", pingSize, most)
}

func pings(w transport, each time.Duration) (times []time.Duration, err error) {
	b := make([]byte, pingSize)
	for end := time.Now().Add(each); len(times) == 0 || time.Now().Before(end); {
		from := time.Now()
		if err := w.ping(b); err != nil {
			return nil, err
		}
		times = append(times, time.Since(from))
	}
	slices.Sort(times)
	return times, nil
}

func throughputRow(t *benchTable, ways []transport, size int, each time.Duration) error {
	var rates []float64
	for _, w := range ways {
		rate, err := throughput(w, size, each)
		if err != nil {
			return err
		}
		rates = append(rates, rate)
	}
	return t.row("copied in and out", "GB/s", size, rates)
}

// throughput is in GB/s; the first burst only warms the memory.
func throughput(w transport, size int, each time.Duration) (float64, error) {
	b, count := written(size), max(1, burst/size)
	if err := w.send(b, count); err != nil {
		return 0, err
	}
	from, bytes := time.Now(), 0
	for bytes == 0 || time.Since(from) < each {
		if err := w.send(b, count); err != nil {
			return 0, err
		}
		bytes += size * count
	}
	return float64(bytes) / float64(time.Since(from).Nanoseconds()), nil
}

// written is n bytes with memory behind them: what nobody has written is read from one
// page of zeros, which never leaves the cache.
func written(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// handOverRow measures what only shared memory can: a payload changes hands where
// it lies, and the answer comes back.
func handOverRow(ctx context.Context, t *benchTable, c *ipc.Client, size int, each time.Duration) error {
	s, err := c.Open(ctx, ipc.Controller+"/look", nil)
	if err != nil {
		return err
	}
	defer s.Close()
	w := &memoryWay{ctx, s}
	var times []time.Duration
	for end := time.Now().Add(each); len(times) == 0 || time.Now().Before(end); {
		from := time.Now()
		if err := w.call(nil, size); err != nil {
			return err
		}
		times = append(times, time.Since(from))
	}
	slices.Sort(times)
	return t.row("handed over, not copied, p50", "microseconds", size, []float64{micro(times[len(times)/2])})
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

func readHead(r io.Reader) (size, count int, err error) {
	var head [16]byte
	_, err = io.ReadFull(r, head[:])
	return int(binary.LittleEndian.Uint64(head[:])), int(binary.LittleEndian.Uint64(head[8:])), err
}

func appendHead(b []byte, size, count int) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	return binary.LittleEndian.AppendUint64(b, uint64(count))
}
