package main

import (
	"strings"
	"testing"
)

// TestRowsOfAFlood: nothing is compared with what has not been measured.
func TestRowsOfAFlood(t *testing.T) {
	for _, c := range []struct {
		row          floodResult
		quiet, burnt float64
		want         string
	}{
		{floodResult{Beside: "nobody", P50: 10, P99: 20}, 20, 0, "nobody 10.00 20.00 1.00 - - -"},
		{floodResult{Beside: "both", P50: 10, P99: 30, Small: 2e6, Large: 4e9}, 20, 15, "both 10.00 30.00 1.50 2.00 2.00 4.00"},
		{floodResult{Beside: "alone", Small: 3e6}, 20, 15, "alone - - - - 3.00 -"},
	} {
		var out strings.Builder
		if err := c.row.print(&out, c.quiet, c.burnt); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestWhoDidNothingHasNoRate: a process may be told to stop before it has begun.
func TestWhoDidNothingHasNoRate(t *testing.T) {
	for _, c := range []struct {
		did  deeds
		want float64
	}{{deeds{}, 0}, {deeds{Seconds: 2}, 0}, {deeds{Sent: 4}, 0}, {deeds{Sent: 4, Seconds: 2}, 2}} {
		if got := c.did.rate(); got != c.want {
			t.Errorf("%+v: %v, want %v", c.did, got, c.want)
		}
	}
}
