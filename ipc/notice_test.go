package ipc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestWhoPollsForMemoryIsNotDropped: a notice takes no credit, so there must not be one
// for each attempt.
func TestWhoPollsForMemoryIsNotDropped(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20, Share: 6 << 20})
	e.Handle("hold", func(ctx context.Context, _ *Session) { <-ctx.Done() })
	s, err := testClient(t, e, "a").Open(testContext(t), "controller/hold", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fillUp(t, s)()
	poll(t, s, 3*maxBacklog)
}

// fillUp takes as much as there is to be had, until empty is called.
func fillUp(t *testing.T, s *Session) (empty func()) {
	t.Helper()
	p, err := s.Alloc(testContext(t), s.l.largest)
	if err != nil {
		t.Error(err)
		return func() {}
	}
	return p.Release
}

// poll asks in vain.
func poll(t *testing.T, s *Session, times int) {
	t.Helper()
	for n := range times {
		if _, err := s.TryAlloc(1 << 20); !errors.Is(err, ErrNoMemory) {
			t.Fatalf("poll %d: %v", n, err)
		}
	}
}

// TestWhoPollsDoesNotHaveOthersDropped: the notices are for somebody who reads nothing
// for a while.
func TestWhoPollsDoesNotHaveOthersDropped(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20, Share: 6 << 20})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	opened := make(chan struct{})
	b.Handle("x", func(ctx context.Context, _ *Session) { close(opened); <-ctx.Done() })
	s, err := a.Open(testContext(t), "b/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	<-opened
	defer fillUp(t, s)()
	goOn := stopReading(b)
	defer goOn()
	for n := 0; n < 16*maxBacklog && len(e.Stats().Dropped) == 0; n += 1000 {
		for a.link.unsaid() > 1000 { // not faster than the engine reads
			time.Sleep(100 * time.Microsecond)
		}
		poll(t, s, 1000)
	}
	if d := e.Stats().Dropped; len(d) > 0 {
		t.Errorf("%+v", d)
	}
}

// stopReading has a companion read nothing, as if it was stopped, until goOn.
func stopReading(c *Client) (goOn func()) {
	for !c.link.takeLead() {
		time.Sleep(time.Millisecond)
	}
	return c.link.leaveArmed
}

// TestAnAnswerBehindANotice: who wants one answer gets it, though the service was short
// of memory before it found some.
func TestAnAnswerBehindANotice(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20, Share: 6 << 20})
	e.Handle("x", func(ctx context.Context, s *Session) {
		if m, err := s.Recv(ctx); err == nil {
			m.Release()
		}
		defer fillUp(t, s)()
		if _, err := s.TryAlloc(1 << 20); errors.Is(err, ErrNoMemory) {
			_ = s.SendBytes(ctx, []byte("in short"))
		}
	})
	reply, err := testClient(t, e, "a").Carry(testContext(t), "x", nil, strings.NewReader("q"))
	if err != nil || string(reply) != "in short" {
		t.Fatalf("%q %v", reply, err)
	}
}

// TestADeniedWishIsAskedForAgain: the half of a companion is in use and stays so; when
// others give back what they had, who waits must get some of it.
func TestADeniedWishIsAskedForAgain(t *testing.T) {
	e := testEngine(t, Options{Budget: 24 << 20, Share: 24 << 20})
	a := testClient(t, e, "a", Sizes(64<<10, 64<<10))
	filler, err := Dial(testContext(t), e.Endpoint(), "filler", Sizes(64<<10, 64<<10))
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	if _, err := a.Alloc(ctx, 64<<10); err != nil {
		t.Fatal(err)
	}
	for n := 12 << 20; n >= 64<<10; {
		short, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
		if _, err := filler.Alloc(short, n); err != nil {
			n /= 2
		}
		cancel()
	}
	got := make(chan error, 1)
	go func() {
		_, err := a.Alloc(ctx, 32<<10)
		got <- err
	}()
	waitFor(t, func() bool { d := e.Stats().LastDenied; return d != nil && d.Name == "a" })
	_ = filler.Close()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// TestTheEndForWantOfMemoryIsNoDenial: who tries again after a denial must not try for
// ever in a session that has ended.
func TestTheEndForWantOfMemoryIsNoDenial(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20, Share: 12 << 20})
	e.Handle("end", func(_ context.Context, s *Session) { _ = s.close(closing{closeMemory, "no memory on the way"}) })
	e.Handle("hold", func(ctx context.Context, _ *Session) { <-ctx.Done() })
	a, ctx := testClient(t, e, "a"), testContext(t)
	for service, ended := range map[string]bool{"end": true, "hold": false} {
		s, err := a.Open(ctx, "controller/"+service, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ended {
			_, _ = s.Recv(ctx)
		}
		held, err := s.Alloc(ctx, 4<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SendBytes(ctx, make([]byte, 9<<20)); !errors.Is(err, ErrNoMemory) || !ended && errors.Is(err, ErrPeer) {
			t.Errorf("%s: %v", service, err)
		}
		held.Release()
		if err := s.SendBytes(ctx, []byte("x")); ended != errors.Is(err, ErrPeer) || ended != errors.Is(err, ErrNoMemory) {
			t.Errorf("%s: %v", service, err)
		}
	}
}
