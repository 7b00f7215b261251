package tray

import (
	"testing"

	"berth/internal/mutate"
)

func TestFuzzLoop(t *testing.T) {
	mutate.Loop(t, mutate.Target{
		Name:  "FuzzClean",
		Seeds: [][]byte{[]byte("report.pdf"), []byte("a\x00b\r\n\u2028\u202e\ufeff\xff\U000e0001"), []byte("e\u0301e\u0301e\u0301")},
		Run: func(t testing.TB, b []byte) uint64 {
			checkClean(t, string(b))
			return uint64(min(len(b), 100))
		},
		Encode: func(b []byte) []any { return []any{string(b)} },
	})
}
