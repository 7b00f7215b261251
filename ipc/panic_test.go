package ipc

import (
	"context"
	"testing"
	"time"
)

// TestAPanicWhileWaitingLeavesTheLead: a caller's mistake, from which it recovers, costs
// nobody else the lane, not even its own next call.
func TestAPanicWhileWaitingLeavesTheLead(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("echo", echo)
	c := testClient(t, e, "a")
	s, err := c.Open(testContext(t), "controller/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	var none context.Context
	if v := recovered(func() { _, _ = s.Recv(none) }); v == nil {
		t.Fatal("no panic")
	}
	if l := c.link; l.leader.Load() != leaderless && l.watched.Load() == 0 {
		t.Fatal("it has kept the lead")
	}
	if err := callOnce(testContext(t), s, 7); err != nil {
		t.Error(err)
	}
	closed := make(chan struct{})
	go func() {
		_ = c.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Fatal("Close hangs")
	}
}

// TestAPanicWhileWaitingLeavesNoWish: memory that nobody would ever get.
func TestAPanicWhileWaitingLeavesNoWish(t *testing.T) {
	_, l := heapPair(t, 8, testHost{}, askedHost{asked: make(chan int, 8)})
	var none context.Context
	p, err := l.alloc(testContext(t), l.largest)
	if err != nil {
		t.Fatal(err)
	}
	if v := recovered(func() { _, _ = l.alloc(none, l.largest) }); v == nil {
		t.Fatal("no panic")
	}
	p.Release()
	if p, err = l.alloc(testContext(t), l.largest); err != nil {
		t.Fatal(err)
	}
	p.Release()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.starving) > 0 {
		t.Errorf("%d wishes are left", len(l.starving))
	}
}

// TestAPanicInAHandlerThatRecovers: the same at the engine's end, under Guard.
func TestAPanicInAHandlerThatRecovers(t *testing.T) {
	e := testEngine(t, Options{})
	fell := make(chan bool)
	e.Handle("clumsy", func(ctx context.Context, s *Session) {
		var none context.Context
		fell <- recovered(func() { _, _ = s.Recv(none) }) != nil
		echo(ctx, s)
	})
	c := testClient(t, e, "a")
	for range 3 {
		s, err := c.Open(testContext(t), "controller/clumsy", nil)
		if err != nil {
			t.Fatal(err)
		}
		if !<-fell {
			t.Error("no panic")
		}
		if err := callOnce(testContext(t), s, 7); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
	}
}

// TestAPanicOfALeaderLeavesNothingTaken: whatever it was doing; what came unseen
// meanwhile is looked at.
func TestAPanicOfALeaderLeavesNothingTaken(t *testing.T) {
	engine, _ := heapPair(t, 8, testHost{}, testHost{echo})
	waitFor(t, engine.takeLead)
	engine.disarm()
	v := recovered(func() {
		defer engine.rescue(false, false)
		engine.mu.Lock()
		engine.dispatching = true
		panic("a bug")
	})
	if v != "a bug" {
		t.Errorf("%v came through", v)
	}
	waitFor(t, func() bool { return atRest(engine) }) // mu is free
	s, err := engine.openSession(testContext(t), opening{address: "c/echo"}, "c", "echo")
	if err != nil {
		t.Fatal(err)
	}
	if err := callOnce(testContext(t), s, 7); err != nil {
		t.Error(err)
	}
	waitFor(t, func() bool { return engine.rx.wake.Load() == doorbell })
}
