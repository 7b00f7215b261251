package portshare

import (
	"testing"

	"berth/internal/mutate"
)

func TestFuzzLoop(t *testing.T) {
	var seeds [][]byte
	for _, i := range []Info{{}, sample(), sample().released()} {
		r, err := encode(i)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, append([]byte{0}, r[:]...), append([]byte{1}, r[:]...))
	}
	mutate.Loop(t, mutate.Target{
		Name: "FuzzParse", Seeds: seeds,
		Run: func(t testing.TB, b []byte) uint64 {
			data, sealed := split(b)
			checkParse(t, data, sealed)
			return 0
		},
		Encode: func(b []byte) []any { data, sealed := split(b); return []any{data, sealed} },
	})
}

// split takes whether the record shall have a right checksum off the front.
func split(b []byte) (data []byte, sealed bool) {
	if len(b) == 0 {
		return nil, true
	}
	return b[1:], b[0]&1 != 0
}
