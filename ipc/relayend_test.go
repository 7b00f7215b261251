package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
)

// How sessions between companions end: everything that was sent before is there first,
// nothing is left after, and nobody waits for ever.

// engineEnd is the engine's end of the session that companion l has opened.
func engineEnd(t *testing.T, e *Engine, name string, s *Session) *Session {
	t.Helper()
	m := e.member(name)
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	end := m.link.sessions[s.id]
	if end == nil {
		t.Fatal("the engine knows nothing of it")
	}
	return end
}

// TestTheEndDoesNotOvertakeMessages: a sends more than the window of b and closes; b
// answers before it has read all of that.
func TestTheEndDoesNotOvertakeMessages(t *testing.T) {
	const messages = 14 // the window is 8
	e := listless(t, Options{Budget: 64 << 20})
	a := heapCompanion(t, e, "a", nil)
	closed, result := make(chan struct{}), make(chan error, 1)
	heapCompanion(t, e, "b", func(ctx context.Context, s *Session) {
		<-closed
		result <- answerThenRead(ctx, s, messages)
	})
	ctx := testContext(t)
	s, err := a.openSession(ctx, opening{address: "b/x"}, "b", "x")
	if err != nil {
		t.Fatal(err)
	}
	end := engineEnd(t, e, "a", s)
	for i := range messages {
		if err := s.SendBytes(ctx, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	waitFor(t, func() bool {
		end.l.mu.Lock()
		defer end.l.mu.Unlock()
		return end.ended != nil
	})
	close(closed)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func answerThenRead(ctx context.Context, s *Session, n int) error {
	if err := s.SendBytes(ctx, []byte("an answer to somebody who has gone")); err != nil {
		return err
	}
	for i := range n {
		m, err := s.Recv(ctx)
		if err != nil {
			return fmt.Errorf("message %d of %d: %w", i, n, err)
		}
		got := m.Bytes()[0]
		m.Release()
		if int(got) != i {
			return fmt.Errorf("message %d came as number %d", got, i)
		}
		if i == 2 { // once more, with some of them on their way
			_ = s.SendBytes(ctx, []byte("and another"))
		}
	}
	if _, err := s.Recv(ctx); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the last: %w", err)
	}
	return nil
}

// TestACallEndsWithTheOneItWaitsFor: who waits for a reply reads no messages meanwhile;
// those must not keep it from hearing that the other one is dead.
func TestACallEndsWithTheOneItWaitsFor(t *testing.T) {
	e := listless(t, Options{Budget: 64 << 20})
	a := heapCompanion(t, e, "a", nil)
	result := make(chan error, 1)
	b := heapCompanion(t, e, "b", func(ctx context.Context, s *Session) {
		p, err := s.Alloc(ctx, 1)
		if err == nil {
			_, err = s.Call(ctx, p)
		}
		result <- err
	})
	ctx := testContext(t)
	s, err := a.openSession(ctx, opening{address: "b/x"}, "b", "x")
	if err != nil {
		t.Fatal(err)
	}
	for range 12 {
		if err := s.SendBytes(ctx, make([]byte, 200)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := s.Recv(ctx) // b's request
	if err != nil {
		t.Fatal(err)
	}
	m.Release()
	a.fail(errors.New("killed"))
	if err := <-result; !errors.Is(err, ErrPeer) {
		t.Fatalf("the call ended with %v", err)
	}
	_ = b
}

// TestAReceiverClosesWhileASegmentIsSealed: the sender takes its time to unmap what it
// has sent, and the one it is for closes meanwhile.
func TestAReceiverClosesWhileASegmentIsSealed(t *testing.T) {
	needsWhole(t)
	e := testEngine(t, Options{})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	enough := make(chan struct{})
	b.Handle("x", func(ctx context.Context, s *Session) { <-enough })
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	end := engineEnd(t, e, "a", s)
	before := e.Stats().Used
	p, err := s.Alloc(ctx, 5<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.takeCredit(ctx); err != nil { // else the link's mu is held
		t.Fatal(err)
	}
	l := a.link
	ext := p.ext
	r := newRecord(kindMessage, flagWhole, s.id, 0)
	r.setLocation(location{ext.number, ext.block[0].generation, 0, 5 << 20})
	l.mem.remove(ext)
	l.mu.Unlock()
	if err := l.send(ctx, &r); err != nil {
		t.Fatal(err)
	}
	l = e.member("b").link
	waitFor(t, func() bool { return passing(end) })
	close(enough)
	waitFor(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return end.out.to.ended != nil
	})
	_ = ext.seg.Close() // within the second that it may take
	if _, err := s.Recv(ctx); !errors.Is(err, io.EOF) {
		t.Errorf("the sender got %v", err)
	}
	_ = s.Close()
	waitFor(t, func() bool { return e.Stats().Used == before })
	if a.Err() != nil || b.Err() != nil {
		t.Fatalf("dropped: %v, %v", a.Err(), b.Err())
	}
}

// passing says whether a segment that came from s was taken, and is not yet sent on.
func passing(s *Session) bool {
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.theirs {
		if f.forgotten && f.leases > 0 {
			return s.queue.len() == 0
		}
	}
	return false
}

// TestASegmentThatNobodyTakesIsGivenUp: it waits for a credit of the receiver, which closes
// before it has any.
func TestASegmentThatNobodyTakesIsGivenUp(t *testing.T) {
	needsWhole(t)
	e := testEngine(t, Options{Window: 1})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	enough := make(chan struct{})
	b.Handle("x", func(ctx context.Context, s *Session) { <-enough })
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	end, before, files := engineEnd(t, e, "a", s), e.Stats().Used, resources(t)
	if err := s.SendBytes(ctx, []byte("takes the only credit")); err != nil {
		t.Fatal(err)
	}
	sendEmpty(t, ctx, s, 5<<20)
	waitFor(t, func() bool { return passing(end) })
	close(enough)
	if _, err := s.Recv(ctx); !errors.Is(err, io.EOF) {
		t.Errorf("the sender got %v", err)
	}
	_ = s.Close()
	waitFor(t, func() bool { return e.Stats().Used == before && !resources(t).exceeds(files) })
	if a.Err() != nil || b.Err() != nil {
		t.Fatalf("dropped: %v, %v", a.Err(), b.Err())
	}
}

// TestALostMessageIsNoEnd: there is no memory to pass a message on. Whoever it was for
// must not take that for the end of what there was to say.
func TestALostMessageIsNoEnd(t *testing.T) {
	e := testEngine(t, Options{Budget: 14 << 20, Share: 14 << 20, Largest: 4 << 20})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	got := make(chan error, 1)
	b.Handle("x", func(ctx context.Context, s *Session) {
		for range 2 { // an end, not a notice: it stays
			_, err := s.Recv(ctx)
			got <- err
		}
	})
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	sendEmpty(t, ctx, s, 3<<20)
	if _, err := s.Recv(ctx); !errors.Is(err, ErrNoMemory) || errors.Is(err, ErrStarved) {
		t.Errorf("the sender got %v", err)
	}
	for range 2 {
		if err := <-got; !errors.Is(err, ErrNoMemory) || errors.Is(err, ErrStarved) {
			t.Errorf("the receiver got %v", err)
		}
	}
	l := e.member("b").link
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.starving); n > 0 { // as long as there are, no extent is given back
		t.Errorf("%d still wait for memory", n)
	}
}

// TestTheDeadLeaveNoGap: of what somebody sent before it died the last may be lost, and
// nothing before that.
func TestTheDeadLeaveNoGap(t *testing.T) {
	for range tortures(20, 2000) {
		noGap(t)
	}
}

func noGap(t *testing.T) {
	e := listless(t, Options{Budget: 64 << 20})
	a := heapCompanion(t, e, "a", nil)
	result, begin := make(chan error, 1), make(chan struct{})
	heapCompanion(t, e, "b", func(ctx context.Context, s *Session) {
		<-begin
		result <- inOrder(ctx, s)
	})
	ctx := testContext(t)
	s, err := a.openSession(ctx, opening{address: "b/x"}, "b", "x")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 15 { // the window is 8 here and there: one is held, and others wait behind it
		if err := s.SendBytes(ctx, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	go a.fail(errors.New("killed"))
	close(begin)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

// inOrder reads to the end of the session.
func inOrder(ctx context.Context, s *Session) error {
	for i := 0; ; i++ {
		m, err := s.Recv(ctx)
		if err != nil {
			if !errors.Is(err, ErrPeer) {
				return err
			}
			return nil
		}
		got := int(m.Bytes()[0])
		m.Release()
		if got != i {
			return fmt.Errorf("number %d came as %d", i, got)
		}
	}
}
