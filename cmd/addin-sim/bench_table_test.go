package main

import (
	"strings"
	"testing"
)

func TestRowsOfABench(t *testing.T) {
	for _, c := range []struct {
		json bool
		want string
	}{
		{false, strings.Repeat(" ", 54) + "     berth    memcpy\n" +
			"round trip, 64 bytes, microseconds                          0.50      0.03\n" +
			"handed over, 64 MiB, microseconds                           2.25\n"},
		{true, `{"measure":"round trip","bytes":64,"unit":"microseconds","figures":{"berth":0.5,"memcpy":0.03}}` + "\n" +
			`{"measure":"handed over","bytes":67108864,"unit":"microseconds","figures":{"berth":2.25}}` + "\n"},
	} {
		var out strings.Builder
		table := &benchTable{out: &out, names: []string{"berth", "memcpy"}, json: c.json}
		if err := table.head(); err != nil {
			t.Fatal(err)
		}
		if err := table.row("round trip", "microseconds", 64, []float64{0.5, 0.03}); err != nil {
			t.Fatal(err)
		}
		if err := table.row("handed over", "microseconds", 64<<20, []float64{2.25}); err != nil {
			t.Fatal(err)
		}
		if out.String() != c.want {
			t.Errorf("json %v:\n%q, want\n%q", c.json, out.String(), c.want)
		}
	}
}
