package ipc

import (
	"context"
	"testing"
)

// TestWhoWaitedForRoomAndWentIsForgotten: the receiver keeps one segment for as long as it
// likes, and closes session after session whose segment waits for room.
func TestWhoWaitedForRoomAndWentIsForgotten(t *testing.T) {
	needsWhole(t)
	e := testEngine(t, Options{Budget: 64 << 20, Share: 6 << 20})
	a, b := testClient(t, e, "a", Sizes(64<<10, 64<<10)), testClient(t, e, "b", Sizes(64<<10, 64<<10))
	got := make(chan *Message, 1)
	b.Handle("keep", func(ctx context.Context, s *Session) {
		if m, err := s.Recv(ctx); err == nil {
			got <- m
		}
	})
	end := make(chan struct{})
	b.Handle("x", func(context.Context, *Session) { <-end })
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/keep", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sendSegment(ctx, s); err != nil {
		t.Fatal(err)
	}
	kept := <-got
	defer kept.Release()
	l := e.member("b").link
	waiting := func() (n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.full)
	}
	const rounds = 20
	for range rounds {
		s, err := a.Open(ctx, "b/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := sendSegment(ctx, s); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { // its segment waits
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.full) > 0 && !l.full[len(l.full)-1].to.closed && l.full[len(l.full)-1].to.ended == nil
		})
		end <- struct{}{} // b closes
		_ = s.Close()
		waitFor(t, func() bool { // and nothing is left of the session
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, s := range l.sessions {
				if s.service == "x" {
					return false
				}
			}
			return true
		})
	}
	if n := waiting(); n > 1 {
		t.Errorf("%d flows of %d ended sessions are kept", n, rounds)
	}
}
