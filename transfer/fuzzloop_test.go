package transfer

import (
	"testing"

	"berth/internal/mutate"
)

func TestFuzzLoop(t *testing.T) {
	st := aJob()
	job, err := encodeRecord(st.job)
	if err != nil {
		t.Fatal(err)
	}
	item, err := encodeRecord(st.items[0])
	if err != nil {
		t.Fatal(err)
	}
	marks := make([]byte, progressLen)
	m := mark{offset: 5, tried: 7, resent: 1}
	copy(marks[slotSize:], encodeSlot(1, m))
	copy(marks[2*slotSize:], encodeSlot(2, m))
	mutate.Loop(t, mutate.Target{
		Name: "FuzzSafeName", Seeds: [][]byte{[]byte("a"), []byte("../x"), []byte("CON."), []byte("nul . ."), []byte("a:b"), []byte("\xff\xfe"), []byte("é.é.é. ")},
		Run: func(t testing.TB, b []byte) uint64 {
			checkSafeName(t, string(b))
			return uint64(min(len(b), 300))
		},
		Encode: func(b []byte) []any { return []any{string(b)} },
	}, mutate.Target{
		Name: "FuzzRecords", Seeds: [][]byte{job[5:], item[5:]},
		Run: func(t testing.TB, b []byte) uint64 {
			checkRecords(t, b)
			return 0
		},
	}, mutate.Target{
		Name: "FuzzProgress", Seeds: [][]byte{marks, marks[:300], {}},
		Run: func(t testing.TB, b []byte) uint64 {
			checkProgress(t, b)
			return 0
		},
	})
}
