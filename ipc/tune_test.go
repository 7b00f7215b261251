package ipc

import (
	"bytes"
	"fmt"
	"testing"
)

// TestCarryInStints: whoever gives way between pieces copies all of them, and nothing else.
func TestCarryInStints(t *testing.T) {
	before := tuned.Swap(true)
	t.Cleanup(func() { tuned.Store(before) })
	from := make([]byte, 3*stint+100)
	for i := range from {
		from[i] = byte(i*7 + i>>16 + 1)
	}
	for _, to := range []*link{nil, {}} {
		for _, c := range []struct{ dst, src int }{
			{0, 0}, {stint, stint}, {stint + 1, stint + 1}, {stint, 2 * stint}, {2 * stint, stint + 1}, {3*stint + 5, 3*stint + 5}, {3 * stint, 3 * stint},
		} {
			t.Run(fmt.Sprint(c.src, " into ", c.dst, ", shared ", to != nil), func(t *testing.T) {
				dst := make([]byte, c.dst+1)
				n, err := carry(to, dst[:c.dst], nil, from[:c.src], c.dst)
				if want := min(c.dst, c.src); n != want || err != nil {
					t.Fatalf("copied %d bytes, want %d; %v", n, want, err)
				}
				if !bytes.Equal(dst[:n], from[:n]) || len(bytes.TrimLeft(dst[n:], "\x00")) > 0 {
					t.Fatal("wrong bytes, or bytes outside")
				}
			})
		}
	}
}
