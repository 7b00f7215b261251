package ipc

import (
	"context"
	"testing"
)

// TestWhatOutlivesItsSenderStaysOnTheAccount: a companion closes its session properly
// and leaves, while the one it sent to does not read. Its memory stays mapped, and must
// count, or whoever leaves and comes back often enough could hold any amount.
func TestWhatOutlivesItsSenderStaysOnTheAccount(t *testing.T) {
	e := testEngine(t, Options{Window: 4})
	b := testClient(t, e, "b")
	read, got := make(chan struct{}), make(chan int)
	b.Handle("later", func(ctx context.Context, s *Session) {
		<-read
		n := 0
		for m, err := s.Recv(ctx); err == nil; m, err = s.Recv(ctx) {
			m.Release()
			n++
		}
		got <- n
	})
	ctx := testContext(t)
	for round := range 3 {
		a, err := Dial(ctx, e.Endpoint(), "a")
		if err != nil {
			t.Fatal(err)
		}
		s, err := a.Open(ctx, "b/later", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 6 { // four for the window of b, and two that stay here
			if err := s.SendBytes(ctx, make([]byte, 5000)); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = s.Close(), a.Close()
		waitFor(t, func() bool { return len(e.Stats().Companions) == 1 })
		if st := e.Stats(); st.Used < st.Companions[0].BlockBytes+int64(round+1)*4<<20 {
			t.Fatalf("%d bytes are used after %d left, %d of them by who stays", st.Used, round+1, st.Companions[0].BlockBytes)
		}
	}
	close(read)
	for range 3 {
		if n := <-got; n != 6 {
			t.Errorf("%d of 6 messages came", n)
		}
	}
	waitFor(t, func() bool { st := e.Stats(); return st.Used == st.Companions[0].BlockBytes })
}
