package local

import (
	"testing"

	"berth/internal/mutate"
)

func TestFuzzLoop(t *testing.T) {
	mutate.Loop(t, mutate.Target{
		Name:  "FuzzDisposition",
		Seeds: [][]byte{[]byte("a.txt"), []byte("ü \"x\".pdf"), []byte("100%.bin"), []byte("a;b=c"), []byte("\\"), []byte("🚢")},
		Run: func(t testing.TB, b []byte) uint64 {
			checkDisposition(t, string(b))
			return uint64(min(len(b), 100))
		},
		Encode: func(b []byte) []any { return []any{string(b)} },
	})
}
