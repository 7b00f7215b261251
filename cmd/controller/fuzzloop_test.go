package main

import (
	"strings"
	"testing"

	"berth/internal/mutate"
)

// TestFuzzLoop reads any text as the configuration, and cuts a destination out of
// it: what is left must be what was meant.
func TestFuzzLoop(t *testing.T) {
	mutate.Loop(t, mutate.Target{
		Name: "FuzzEditConfig", Slow: 10,
		Seeds: [][]byte{[]byte("[destinations.a]\nurl='ftp://h/'\n[destinations.ab]\nurl='ftp://h/'"), []byte(commented)},
		Run: func(t testing.TB, b []byte) uint64 {
			c, err := parseConfig(string(b))
			if err != nil {
				return uint64(len(err.Error()))
			}
			for name, d := range c.Destinations {
				if checkName(name) != nil || strings.ContainsAny(d.URL, "\r\n\x00") {
					t.Errorf("destination %q, %q was read", name, d.URL)
				}
				_ = cutTable(string(b), name)
			}
			return 1<<32 + uint64(len(c.Destinations))
		},
		Encode: func(b []byte) []any { return []any{string(b), "a"} },
	})
}
