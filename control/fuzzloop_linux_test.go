package control

import (
	"net"
	"testing"

	"berth/internal/mutate"
)

func TestFuzzLoopDiag(t *testing.T) {
	local, _ := addrPort(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80})
	mutate.Loop(t, mutate.Target{
		Name: "FuzzDiag", Seeds: [][]byte{nil, make([]byte, 88), diagRequest(local, local)},
		Run: func(_ testing.TB, b []byte) uint64 {
			diagOwner(b, local)
			return uint64(min(len(b), 100))
		},
	})
}
