package ipc

import (
	"context"
	"errors"
	"testing"
)

// TestMissingMemoryReachesBothCompanions: the one that could not send gets the error,
// and so does the one that would have received.
func TestMissingMemoryReachesBothCompanions(t *testing.T) {
	e := testEngine(t, Options{Budget: 4 << 20, Largest: 2 << 20})
	a, b := testClient(t, e, "a", Sizes(1<<20, 64<<10)), testClient(t, e, "b", Sizes(64<<10, 64<<10))
	told := make(chan error, 1)
	b.Handle("sink", func(ctx context.Context, s *Session) {
		_, err := s.Recv(ctx)
		told <- err
		<-ctx.Done()
	})
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/sink", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.TryAlloc(2 << 20); !errors.Is(err, ErrNoMemory) {
		t.Errorf("the sender got %v", err)
	}
	if err := <-told; !errors.Is(err, ErrNoMemory) {
		t.Errorf("the receiver got %v", err)
	}
}
