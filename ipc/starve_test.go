package ipc

import (
	"context"
	"errors"
	"testing"

	"berth/internal/shm"
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
	if err := <-told; !errors.Is(err, ErrStarved) {
		t.Errorf("the receiver got %v", err)
	}
}

// askedHost notes what it is asked for.
type askedHost struct {
	testHost
	asked chan int
}

func (h askedHost) grow(_ *link, n int) { h.asked <- n }

// empty takes away the memory that a pair begins with.
func (l *link) empty() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mem.remove(l.mem.extents[0])
}

// TestADeniedWishIsNobodyElses: that there is no room for a large parcel does not mean
// that there is none for a small one.
func TestADeniedWishIsNobodyElses(t *testing.T) {
	host := askedHost{asked: make(chan int, 8)}
	_, l := heapPair(t, 8, testHost{}, host)
	l.empty()
	ctx, large, small := testContext(t), make(chan error, 1), make(chan error, 1)
	alloc := func(n int, result chan error) {
		p, err := l.alloc(ctx, n)
		if err == nil {
			p.Release()
		}
		result <- err
	}
	go alloc(100_000, large)
	if n := <-host.asked; n != 100_000 {
		t.Fatalf("asked for %d bytes", n)
	}
	go alloc(5000, small)
	waitFor(t, func() bool { return l.waiters.Load() == 2 })
	l.denied()
	if err := <-large; !errors.Is(err, ErrNoMemory) {
		t.Errorf("the large one: %v", err)
	}
	if n := <-host.asked; n != 5000 {
		t.Fatalf("asked for %d bytes then", n)
	}
	l.grown(9, shm.HeapSegment(floorSize))
	if err := <-small; err != nil {
		t.Errorf("the small one: %v", err)
	}
}

// TestAWishIsNotDeniedForAnEarlierOne: what was refused to somebody before is asked for
// again, for memory may have become free since.
func TestAWishIsNotDeniedForAnEarlierOne(t *testing.T) {
	host := askedHost{asked: make(chan int, 8)}
	_, l := heapPair(t, 8, testHost{}, host)
	l.empty()
	ctx, results := testContext(t), make(chan error, 2)
	alloc := func(n int) {
		p, err := l.alloc(ctx, n)
		if err == nil {
			p.Release()
		}
		results <- err
	}
	for i, n := range []int{5000, floorSize} {
		go alloc(n)
		waitFor(t, func() bool { return l.waiters.Load() == int32(i)+1 })
	}
	if n := <-host.asked; n != 5000 {
		t.Fatalf("asked for %d bytes", n)
	}
	l.denied()
	if err := <-results; !errors.Is(err, ErrNoMemory) {
		t.Errorf("the first: %v", err)
	}
	if n := <-host.asked; n != floorSize {
		t.Fatalf("asked for %d bytes then", n)
	}
	l.grown(9, shm.HeapSegment(floorSize))
	if err := <-results; err != nil {
		t.Errorf("who came later: %v", err)
	}
}
