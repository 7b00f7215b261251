package ipc

import (
	"context"
	"testing"
)

// TestAMessageThatIsFasterThanTheJoin: a companion may send from the moment that it
// has accepted a session, and the engine joins the two halves only after that. Here
// it sends a reply at once, to a call that the opener has noted before it opened.
func TestAMessageThatIsFasterThanTheJoin(t *testing.T) {
	e := listless(t, Options{Budget: 64 << 20})
	a := heapCompanion(t, e, "a", echo)
	heapCompanion(t, e, "b", func(ctx context.Context, s *Session) {
		if p, err := s.Alloc(ctx, 1); err != nil {
			t.Error(err)
		} else if err := s.send(ctx, p, flagReply, 1); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
	})
	ctx := testContext(t)
	for range 200 {
		a.mu.Lock()
		s := a.newSession(a.nextID)
		a.nextID += 2
		c := s.newCall()
		r := newRecord(kindOpen, 0, s.id, uint32(a.window))
		r.setInline(opening{address: "b/eager"}.encode())
		a.post(&r)
		a.mu.Unlock()
		if err := a.await(ctx, c, c.ch); err != nil {
			t.Fatalf("the reply never came: %v", err)
		}
		a.mu.Lock()
		m := s.endCall(c)
		a.mu.Unlock()
		if m == nil {
			t.Fatal("the session ended without the reply")
		}
		m.Release()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
