package ipc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestABudgetInWhichNobodyFitsIsRefused: an engine that would let nobody in for ever.
func TestABudgetInWhichNobodyFitsIsRefused(t *testing.T) {
	for _, budget := range []int64{1, 100 << 10, 128<<10 - 1} {
		e, err := NewEngine(testSession(t), Options{Budget: budget})
		if !errors.Is(err, ErrNoMemory) || !strings.Contains(err.Error(), "131072") {
			t.Errorf("%d bytes: %v", budget, err)
		}
		if err == nil {
			_ = e.Close()
		}
	}
	c := testClient(t, testEngine(t, Options{Budget: 128 << 10}), "a") // the least
	p, err := c.Alloc(testContext(t), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	p.Release()
}

// TestWhatCanNeverBeHadIsTooLarge, and the largest parcel can be had.
func TestWhatCanNeverBeHadIsTooLarge(t *testing.T) {
	for _, o := range []Options{
		{Budget: 64 << 20, Share: 8 << 20},
		{Budget: 64 << 20, Share: 4 << 20},
		{Budget: 64 << 20, Share: 1},
		{Budget: 6 << 20, Largest: 64 << 20, Share: 64 << 20},
	} {
		e := testEngine(t, o)
		c, largest := testClient(t, e, "a"), e.opts.Largest
		ctx := testContext(t)
		for _, n := range []int{largest, largest / 2} {
			p, err := c.Alloc(ctx, n)
			if err != nil {
				t.Errorf("%+v: %d bytes: %v", o, n, err)
				continue
			}
			p.Release()
		}
		if _, err := c.Alloc(ctx, largest+1); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes: %v", largest+1, err)
		}
		if o.Share == 8<<20 && largest < 7<<20 {
			t.Errorf("of a share of %d the largest parcel is %d", o.Share, largest)
		}
		_ = c.Close()
	}
	c := testClient(t, testEngine(t, Options{}), "a")
	if _, err := c.Alloc(testContext(t), -1); !errors.Is(err, ErrMisuse) || strings.Contains(err.Error(), "stream") {
		t.Errorf("-1 bytes: %v", err)
	}
}

// TestAwaitOfWhatCannotBe answers at once.
func TestAwaitOfWhatCannotBe(t *testing.T) {
	c := testClient(t, testEngine(t, Options{}), "a")
	ctx, cancel := context.WithTimeout(testContext(t), 2*time.Second)
	defer cancel()
	for _, name := range []string{"bad name!", "", "a/b", Controller} {
		if _, err := c.Await(ctx, name); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestOpenOfAClosedEngine(t *testing.T) {
	e := testEngine(t, Options{})
	_ = e.Close()
	if _, err := e.Open(testContext(t), "b/x", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// TestServicesThatNobodyCouldOpen are mistakes of the program that offers them.
func TestServicesThatNobodyCouldOpen(t *testing.T) {
	e := testEngine(t, Options{})
	c := testClient(t, e, "a")
	for name, handle := range map[string]func(){
		"bad":     func() { e.Handle("bad service", echo) },
		"cache":   func() { e.Handle(cacheService, echo) },
		"empty":   func() { c.Handle("", echo) },
		"slash":   func() { c.Handle("a/b", echo) },
		"trusted": func() { c.HandleTrusted("a b", echo) },
	} {
		if v, _ := recovered(handle).(string); !strings.Contains(v, "service") {
			t.Errorf("%s: %q", name, v)
		}
	}
	if err := c.Retain(testContext(t), "x", []byte("y")); err != nil {
		t.Error(err)
	}
}

// TestAWaitThatTimesOutIsToldWhateverItsCause: the other side of who waited for memory in
// vain hears of it also when the deadline bears a cause of its own.
func TestAWaitThatTimesOutIsToldWhateverItsCause(t *testing.T) {
	_, companion := heapPair(t, 64, testHost{func(ctx context.Context, s *Session) {
		_, err := s.Recv(ctx)
		_ = s.Fail(err.Error())
	}}, testHost{})
	ctx := testContext(t)
	s, err := companion.openSession(ctx, opening{address: "controller/x"}, Controller, "x")
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.Alloc(ctx, 256<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer all.Release()
	mine := errors.New("no patience")
	short, cancel := context.WithTimeoutCause(ctx, 10*time.Millisecond, mine)
	defer cancel()
	if _, err := s.Alloc(short, 256<<10); !errors.Is(err, mine) {
		t.Fatalf("got %v", err)
	}
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := s.Recv(wait); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), ErrStarved.Error()) {
		t.Errorf("got %v", err)
	}
}

// TestAHandlerEndsWithTheOtherCompanion: its lane leads to the engine, which lives on.
func TestAHandlerEndsWithTheOtherCompanion(t *testing.T) {
	e := testEngine(t, Options{})
	opener, server := testClient(t, e, "opener"), testClient(t, e, "server")
	ended := make(chan error, 1)
	server.Handle("long", func(ctx context.Context, s *Session) {
		select {
		case <-ctx.Done():
			m, err := s.Recv(ctx) // what was sent before is still delivered
			if err == nil {
				m.Release()
				_, err = s.Recv(ctx)
			}
			ended <- errors.Join(err, context.Cause(ctx))
		case <-time.After(10 * time.Second):
			ended <- errors.New("it goes on")
		}
	})
	s, err := opener.Open(testContext(t), "server/long", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendBytes(testContext(t), []byte("last words")); err != nil {
		t.Fatal(err)
	}
	_ = opener.Close()
	err = <-ended
	if !errors.Is(err, ErrPeer) || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := strings.Count(err.Error(), ErrPeer.Error()); n != 2 {
		t.Errorf("of two errors %d say so: %v", n, err)
	}
}
