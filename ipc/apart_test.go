package ipc

import (
	"testing"
	"time"
)

// moves counts how often n says to move in a row of naps, one every millisecond.
func moves(n *nearness, start *time.Time, naps int, nap time.Duration) (all int) {
	for range naps {
		*start = start.Add(time.Millisecond)
		if n.note(*start, nap) {
			all++
		}
	}
	return all
}

func TestNearness(t *testing.T) {
	var n nearness
	now := time.Now()
	if got := moves(&n, &now, nearNaps-1, nearNap/2) + moves(&n, &now, 1, nearNap) + moves(&n, &now, nearNaps-1, nearNap/2); got != 0 {
		t.Fatalf("%d moves without %d short sleeps in a row", got, nearNaps)
	}
	if moves(&n, &now, 1, nearNap/2) != 1 {
		t.Fatal("no move after enough short sleeps")
	}
	// Sleeps stay short: each move comes twice as long after the one before, to a limit.
	second := int(time.Second / time.Millisecond)
	if got := moves(&n, &now, second, nearNap/2); got < 5 || got > 8 {
		t.Fatalf("%d moves in the first second that brought nothing", got)
	}
	if got := moves(&n, &now, 10*second, nearNap/2); got < 12 || got > 20 {
		t.Fatalf("%d moves in ten seconds that brought nothing", got)
	}
	// Long apart, it begins anew.
	if got := moves(&n, &now, 2*second, time.Millisecond) + moves(&n, &now, nearNaps, nearNap/2); got != 1 || n.pause != soonestApart {
		t.Fatalf("%d moves and a pause of %v after a good time", got, n.pause)
	}
}
