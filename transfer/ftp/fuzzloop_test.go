package ftp

import (
	"testing"

	"berth/internal/mutate"
)

func TestFuzzLoop(t *testing.T) {
	mutate.Loop(t, mutate.Target{
		Name: "FuzzReply",
		Seeds: [][]byte{[]byte("220 ready\r\n"), []byte("211-F\r\n A\r\n211 E\r\n"), []byte("227 (1,2,3,4,5,6)\r\n"),
			[]byte("229 (|||5|)\r\n"), []byte("257 \"/a\"\"b\" x\r\n"), []byte("213 42\r\n")},
		Run: func(t testing.TB, b []byte) uint64 {
			checkReply(t, string(b))
			return uint64(min(len(b), 100))
		},
		Encode: func(b []byte) []any { return []any{string(b)} },
	})
}
