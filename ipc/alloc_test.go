//go:build !race

package ipc

import (
	"context"
	"testing"
)

// TestMessagesAllocateNothing: both ends live in this process, and AllocsPerRun
// counts those of all goroutines.
func TestMessagesAllocateNothing(t *testing.T) {
	engine, _ := heapPair(t, 64, testHost{}, testHost{mirror})
	ctx := testContext(t)
	s, err := engine.openSession(ctx, opening{address: "c/mirror"}, "c", "mirror")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 64, maxInline + 1, 4096, 30_000} {
		round := roundTrip(t, s, n)
		for range 500 { // until every list has its size
			round()
		}
		if got := testing.AllocsPerRun(1000, round); got != 0 {
			t.Errorf("%d bytes: %v allocations for each request and reply", n, got)
		}
	}
}

// roundTrip has n bytes answered through s, whose service is mirror.
func roundTrip(t *testing.T, s *Session, n int) func() {
	ctx, body := testContext(t), make([]byte, n)
	return func() {
		p, err := s.Alloc(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		p.Fill(body)
		m, err := s.Call(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		m.CopyTo(body)
		m.Release()
	}
}

// mirror answers every request with its own bytes.
func mirror(ctx context.Context, s *Session) {
	for {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		p, err := s.Alloc(ctx, len(m.Bytes()))
		if err != nil {
			return
		}
		p.Fill(m.Bytes())
		if s.Reply(ctx, m, p) != nil {
			return
		}
		m.Release()
	}
}
