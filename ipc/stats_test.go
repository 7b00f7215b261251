package ipc

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/shm"
)

func TestStatsTellWhereTheMemoryIs(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20, Cache: 8 << 20, Companions: 2})
	e.Handle("echo", echo)
	ctx := testContext(t)
	a, b := testClient(t, e, "a", Sizes(1<<20, 1<<20)), testClient(t, e, "b", Sizes(2<<20, 64<<10))
	if err := a.Retain(ctx, "x", make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	b.Handle("hold", func(ctx context.Context, s *Session) { <-ctx.Done() })
	s, err := e.Open(ctx, "b/hold", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendBytes(ctx, make([]byte, 20_000)); err != nil {
		t.Fatal(err)
	}
	st := e.Stats()
	if st.Budget != 64<<20 || st.CacheBudget != 8<<20 || st.CacheUsed != cost(100_000) || len(st.Cached) != 1 ||
		st.Used != st.Companions[0].BlockBytes+st.Companions[1].BlockBytes || st.Waiting != 0 || st.Denied != 0 || len(st.Drops) != 0 {
		t.Errorf("%+v", st)
	}
	ca, cb := st.Companions[0], st.Companions[1]
	if ca.Name != "a" || ca.State != "registered" || ca.Extents < 2 || ca.BlockBytes < 128<<10 || ca.CacheBytes != 100_000 || ca.Fragmentation != 0 {
		t.Errorf("a: %+v", ca)
	}
	if cb.Extents != 2 || cb.BlockBytes < 128<<10 || cb.UsedBytes != 20_480 || cb.LargestFree != 32<<10 || cb.CacheBytes != 0 || cb.Sessions != 1 {
		t.Errorf("b: %+v", cb)
	}
	if want := 1 - 32.0/44; cb.Fragmentation < want-0.01 || cb.Fragmentation > want+0.01 {
		t.Errorf("44 KiB of b are free, 32 in a row, but fragmentation is %v", cb.Fragmentation)
	}
}

func TestFragmentationIsThatOfTheExtents(t *testing.T) {
	m := &memory{unit: 4096}
	m.add(1, shm.HeapSegment(1<<20))
	m.add(2, shm.HeapSegment(192<<10)) // no power of two, but all in one piece
	if u := m.usage(); u.fragmentation() != 0 || u.largest != 1<<20 || u.free != u.size || u.used != 0 {
		t.Errorf("empty: %+v, fragmentation %v", u, u.fragmentation())
	}
	var at []int
	for range 256 {
		e, i, _ := m.take(4096)
		if e.number == 1 {
			at = append(at, i)
		}
	}
	if u := m.usage(); u.used != 1<<20 || u.fragmentation() != 0 {
		t.Errorf("one full, one empty: %+v, fragmentation %v", u, u.fragmentation())
	}
	e := m.find(1)
	for _, i := range at {
		if i%2 == 0 {
			e.held--
			e.free(i)
		}
	}
	e.flush()
	if u := m.usage(); u.used != 512<<10 || u.fragmentation() < 0.7 || u.largest != 192<<10 {
		t.Errorf("every other unit is free: %+v, fragmentation %v", u, u.fragmentation())
	}
}

func TestStatsTellWhoWasTurnedAway(t *testing.T) {
	e := testEngine(t, Options{Budget: 4 << 20, Largest: 3 << 20, Companions: 2})
	a := testClient(t, e, "a", Sizes(1<<20, 1<<20))
	if _, err := Dial(testContext(t), e.Endpoint(), "a"); !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	for _, h := range []hello{{version: Version + 1}, {version: Version, name: Controller}} {
		c, _, err := dialConn(testContext(t), e.Endpoint())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.write(frameHello, h.encode())
		_, _ = c.read()
		_ = c.close()
	}
	rogue := testClient(t, e, "rogue", Sizes(1, 1))
	_ = rogue.link.conn.write(frameForget, []byte{9, 9, 9, 9})
	<-rogue.Done()
	waitFor(t, func() bool {
		return maps.Equal(e.Stats().Drops, map[string]int{"name": 2, "version": 1, "protocol": 1})
	})
	st := e.Stats()
	if len(st.Dropped) != 4 {
		t.Fatalf("%+v", st.Dropped)
	}
	last := st.Dropped[slices.IndexFunc(st.Dropped, func(d Drop) bool { return d.Kind == "protocol" })]
	if last.Kind != "protocol" || last.Name != "rogue" || last.PID == 0 || !strings.Contains(last.Reason, "forgets segment") || time.Since(last.At) > time.Hour {
		t.Errorf("%+v", last)
	}
	other := testClient(t, e, "b", Sizes(1<<20, 64<<10))
	waiting, stop := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() {
		_, err := Dial(waiting, e.Endpoint(), "c")
		ended <- err
	}()
	waitFor(t, func() bool { return e.Stats().Waiting == 1 })
	stop()
	<-ended
	waitFor(t, func() bool { return e.Stats().Waiting == 0 })
	held, err := other.Alloc(testContext(t), 2<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Alloc(testContext(t), 2<<20); !errors.Is(err, ErrNoMemory) {
		t.Fatalf("2 MiB more in a budget of 4: %v", err)
	}
	held.Release()
	st = e.Stats()
	if st.Denied != 1 || st.LastDenied.Name != "a" || st.LastDenied.Bytes != 2<<20 || !strings.Contains(st.LastDenied.Reason, "budget of 4194304") {
		t.Errorf("%d denied, the last: %+v", st.Denied, st.LastDenied)
	}
	_ = other.Close()
}
