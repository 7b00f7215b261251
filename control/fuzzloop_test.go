package control

import (
	"testing"

	"berth/internal/mutate"
)

func TestFuzzLoop(t *testing.T) {
	header, err := EncodeItemHeader(ItemHeader{"p", "n"})
	if err != nil {
		t.Fatal(err)
	}
	mutate.Loop(t, mutate.Target{
		Name: "FuzzStream", Slow: 10,
		Seeds: [][]byte{[]byte(":\n\n"), []byte("data: {\"type\":\"ready\"}\n\n"), []byte("data:{\"type\":\ndata:\"ready\"}\r\n\r\n"),
			[]byte("event: x\nid: 1\ndata: {}\n\n"), []byte("\xef\xbb\xbfdata: {}\n\n")},
		Run: func(t testing.TB, b []byte) uint64 {
			checkStream(t, b)
			return uint64(min(len(b), 100))
		},
	}, mutate.Target{
		Name:  "FuzzItem",
		Seeds: [][]byte{header, EncodeItemReply(Item{ID: "i", Name: "n"}, nil), EncodeItemReply(Item{}, usage("m", "n")), []byte(`{"id":"x","error":{}}`)},
		Run: func(t testing.TB, b []byte) uint64 {
			checkItem(t, b)
			return uint64(min(len(b), 100))
		},
	})
}
