package tus

import (
	"strings"
	"testing"

	"berth/internal/mutate"
)

func TestFuzzLoop(t *testing.T) {
	fields := func(b []byte) [4]string {
		var all [4]string
		copy(all[:], strings.SplitN(string(b), "\n", 4))
		return all
	}
	mutate.Loop(t, mutate.Target{
		Name:  "FuzzState",
		Seeds: [][]byte{[]byte("0\n100\nbytes 0-9/100\nx"), []byte("-1\n\nbytes 1\n\x1b[31m"), []byte("1\n1\nsha256\nhttps://host/files/1")},
		Run: func(t testing.TB, b []byte) uint64 {
			a := fields(b)
			checkState(t, a[0], a[1], a[2], a[3])
			return uint64(min(len(b), 100))
		},
		Encode: func(b []byte) []any { a := fields(b); return []any{a[0], a[1], a[2], a[3]} },
	})
}
