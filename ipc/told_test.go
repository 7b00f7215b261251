package ipc

import (
	"context"
	"errors"
	"io"
	"testing"
)

// stuffed is a session to a service that reads nothing, with its window full: who
// sends now waits.
func stuffed(t *testing.T, companion *link) *Session {
	t.Helper()
	ctx := testContext(t)
	s, err := companion.openSession(ctx, opening{address: "controller/deaf"}, Controller, "deaf")
	if err != nil {
		t.Fatal(err)
	}
	for range s.limit {
		if err := s.SendBytes(ctx, []byte("unread")); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestEverybodyIsToldOfTheEnd: any number of goroutines may use one session. All that
// wait in Recv, and all that wait for the window, hear that it is over.
func TestEverybodyIsToldOfTheEnd(t *testing.T) {
	for _, by := range []string{"this side", "the other side"} {
		t.Run(by, func(t *testing.T) {
			over := make(chan struct{})
			deaf := func(ctx context.Context, _ *Session) { <-over }
			_, companion := heapPair(t, 8, testHost{deaf}, testHost{})
			s, ctx := stuffed(t, companion), testContext(t)
			ended := make(chan error)
			const each = 4
			for range each {
				go func() { ended <- s.SendBytes(ctx, []byte("one too many")) }()
				go func() { _, err := s.Recv(ctx); ended <- err }()
			}
			waitFor(t, func() bool { return companion.waiters.Load() == 2*each })
			close(over)
			want := io.EOF
			if by == "this side" {
				want = ErrClosed
				_ = s.Close()
			}
			for range 2 * each {
				// A credit may come just before the end: what the service has not read is given back.
				if err := <-ended; err != nil && !errors.Is(err, want) && !errors.Is(err, io.EOF) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

// TestTheLastMessageDoesNotHideTheEnd: two look in vain, and before they sleep a message
// comes and the end with it. There is one token for both; who takes it and the message
// has to tell the other.
func TestTheLastMessageDoesNotHideTheEnd(t *testing.T) {
	engine, companion := heapPair(t, 8, testHost{func(ctx context.Context, s *Session) { <-ctx.Done() }}, testHost{})
	ctx := testContext(t)
	s, err := companion.openSession(ctx, opening{address: "controller/x"}, Controller, "x")
	if err != nil {
		t.Fatal(err)
	}
	engine.mu.Lock()
	other := engine.sessions[s.id]
	engine.mu.Unlock()
	companion.waiters.Add(2)
	defer companion.waiters.Add(-2)
	if err := other.SendBytes(ctx, []byte("last words")); err != nil {
		t.Fatal(err)
	}
	_ = other.Close()
	waitFor(t, func() bool {
		companion.mu.Lock()
		defer companion.mu.Unlock()
		return s.ended != nil
	})
	<-s.recv
	m, err := s.Recv(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m.Release()
	<-s.recv
	if _, err := s.Recv(ctx); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v", err)
	}
}

// TestACreditThatIsGivenBackIsPassedOn: who could not publish what it had a credit for
// leaves that to who waits for one.
func TestACreditThatIsGivenBackIsPassedOn(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	_, companion := heapPair(t, 8, testHost{func(context.Context, *Session) { <-over }}, testHost{})
	ctx := testContext(t)
	s := stuffed(t, companion)
	sent := make(chan error)
	go func() { sent <- s.SendBytes(ctx, []byte("waits")) }()
	waitFor(t, func() bool { return companion.waiters.Load() == 1 && companion.leader.Load() == leaderless })
	r := newRecord(kindMessage, 0, s.id, 0)
	r.setInline([]byte("not published"))
	companion.unsend(s, &r)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// TestWhoKeepsMoreThanHalfAWindow: the credits of what was released wait for company;
// when this side keeps the others and waits for one more, they must not.
func TestWhoKeepsMoreThanHalfAWindow(t *testing.T) {
	const messages = 10 // the window is 8
	send := func(ctx context.Context, s *Session) {
		for i := range messages {
			if s.SendBytes(ctx, []byte{byte(i)}) != nil {
				return
			}
		}
		<-ctx.Done()
	}
	_, companion := heapPair(t, 8, testHost{send}, testHost{})
	ctx := testContext(t)
	s, err := companion.openSession(ctx, opening{address: "controller/x"}, Controller, "x")
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		m, err := s.Recv(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if i < 3 {
			m.Release()
		} else {
			defer m.Release()
		}
	}
}

// TestCreditsComeBackToWhoWaitsBesideAReceiver: of a window of small messages, each in
// somebody's hands, some are released while somebody waits for the next one.
func TestCreditsComeBackToWhoWaitsBesideAReceiver(t *testing.T) {
	e := testEngine(t, Options{Window: 16})
	c := testClient(t, e, "c")
	e.Handle("x", func(ctx context.Context, s *Session) {
		for i := range 17 {
			if s.SendBytes(ctx, []byte{byte(i)}) != nil {
				return
			}
		}
		<-ctx.Done()
	})
	ctx := testContext(t)
	s, err := c.Open(ctx, "controller/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	var held []*Message
	for range 16 {
		m, err := s.Recv(ctx)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, m)
	}
	last := make(chan error, 1)
	go func() {
		m, err := s.Recv(ctx)
		if err == nil {
			m.Release()
		}
		last <- err
	}()
	waitFor(t, func() bool { return c.link.waiters.Load() > 0 })
	for _, m := range held[:7] {
		m.Release()
	}
	if err := <-last; err != nil {
		t.Fatal(err)
	}
}
