//go:build !race

package ipc

import (
	"math"
	"runtime"
	"testing"
	"time"
)

// TestDoorbellsAllocateNothing over a real control stream, both ways.
func TestDoorbellsAllocateNothing(t *testing.T) {
	l := noEngine(t)
	companion, _, err := dialConn(testContext(t), l.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = companion.close() }()
	engine, p, err := l.accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.release() }()
	defer func() { _ = engine.close() }()
	for what, ends := range map[string][2]conn{"to the engine": {companion, engine}, "to the companion": {engine, companion}} {
		got := testing.AllocsPerRun(1000, func() {
			ends[0].hint(frameDoorbell)
			if f, err := ends[1].read(); err != nil || f.kind != frameDoorbell {
				t.Errorf("%+v, %v", f, err)
			}
		})
		if got != 0 {
			t.Errorf("%v allocations for each doorbell %s", got, what)
		}
	}
}

// TestAllocationsThroughAnEngine counts what client, engine and service, all of this
// process, allocate for a round trip over real sockets: back to back, and so far apart
// that each message finds everybody asleep and is told of by a doorbell.
func TestAllocationsThroughAnEngine(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("mirror", mirror)
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	b.Handle("mirror", mirror)
	for _, address := range []string{"controller/mirror", "b/mirror"} {
		s, err := a.Open(testContext(t), address, nil)
		if err != nil {
			t.Fatal(err)
		}
		round := roundTrip(t, s, 4096)
		mallocs(2000, 0, round) // until every list has its size
		hot := mallocs(5000, 0, round)
		// The runtime makes itself a goroutine or a place in a queue now and then, until it
		// has enough. What Berth allocates is in every slice.
		least, most := math.Inf(1), 0.0
		for range 5 {
			n := mallocs(25, 20*time.Millisecond, round)
			least, most = min(least, n), max(most, n)
		}
		t.Logf("%s: %.3f allocations for each round trip, %.2f to %.2f when they come 20 ms apart", address, hot, least, most)
		if hot > 0.1 {
			t.Errorf("%s: %v allocations for each of many round trips", address, hot)
		}
		if least >= 1 {
			t.Errorf("%s: %v allocations for a round trip now and then", address, least)
		}
	}
}

// mallocs is what this process allocates for each of so many rounds, with a pause before
// every one. Not AllocsPerRun: that has all goroutines share one processor.
func mallocs(rounds int, pause time.Duration, round func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		if pause > 0 {
			time.Sleep(pause)
		}
		round()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(rounds)
}
