package portshare

import (
	"testing"

	"berth/internal/mutate"
)

func TestFuzzLoopStat(t *testing.T) {
	mutate.Loop(t, mutate.Target{
		Name:  "FuzzParseStat",
		Seeds: [][]byte{[]byte("42 (a) Z 1 (b)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21\n")},
		Run: func(t testing.TB, b []byte) uint64 {
			checkStat(t, b)
			return 0
		},
	})
}
