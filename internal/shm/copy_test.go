package shm

import (
	"bytes"
	"fmt"
	"testing"
)

func TestCopyIsCopy(t *testing.T) {
	const guard = 128
	from := make([]byte, 140_000)
	for i := range from {
		from[i] = byte(i*7 + i>>8 + 1)
	}
	for name, do := range map[string]func(dst, src []byte) int{
		"into":           Copy,
		"out":            func(dst, src []byte) int { return CopyOut(dst, src, 0) },
		"out, streaming": func(dst, src []byte) int { return CopyOut(dst, src, streamFrom) },
	} {
		for _, n := range []int{0, 1, 63, 64, 65, 511, 512, 513, 575, 576, 767, 768, 1000, 1279, 1280, 1344, 1536, 1599, 4096, 4097, 9000, 128<<10 - 1, 128 << 10, 128<<10 + 65} {
			for _, offset := range []int{0, 1, 31, 63, 64} {
				t.Run(fmt.Sprint(name, " ", n, " ", offset), func(t *testing.T) {
					to := bytes.Repeat([]byte{0xa5}, guard+n+2*guard)
					want := bytes.Clone(to)
					copy(want[guard+offset:], from[offset:offset+n])
					if got := do(to[guard+offset:guard+offset+n], from[offset:]); got != n {
						t.Fatalf("copied %d of %d", got, n)
					}
					if !bytes.Equal(to, want) {
						t.Fatal("wrong bytes, or bytes outside")
					}
				})
			}
		}
	}
}
