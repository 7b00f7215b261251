package ipc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// lastDrop waits until somebody has been dropped and answers why.
func lastDrop(t *testing.T, e *Engine) Drop {
	t.Helper()
	waitFor(t, func() bool { return len(e.Stats().Dropped) > 0 })
	d := e.Stats().Dropped
	return d[len(d)-1]
}

func TestWhoRingsForNothingIsDropped(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("echo", echo)
	c := testClient(t, e, "ringer")
	s, err := c.Open(testContext(t), "controller/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 * idleRings { // for cause, as often as it likes
		if n%100 == 0 {
			waitFor(t, func() bool { return c.link.tx.wake.Load() == doorbell })
		}
		if err := callOnce(testContext(t), s, n); err != nil {
			t.Fatal(err)
		}
	}
	for c.link.conn.write(frameDoorbell, nil) == nil {
	}
	if d := lastDrop(t, e); d.Name != "ringer" || d.Kind != "protocol" || !strings.Contains(d.Reason, "doorbell") {
		t.Fatalf("%+v", d)
	}
}

func TestNobodyGetsMoreThanItsShare(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20, Share: 16 << 20})
	greedy := testClient(t, e, "greedy", Sizes(1<<20, 64<<10))
	var held []*Parcel
	for {
		short, cancel := context.WithTimeout(testContext(t), 2*time.Second)
		p, err := greedy.Alloc(short, 4<<20)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break // it waits for what it holds itself
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, p)
	}
	if len(held) != 3 {
		t.Fatalf("%d parcels of 4 MiB in a share of 16", len(held))
	}
	p, err := testClient(t, e, "modest").Alloc(testContext(t), 8<<20)
	if err != nil {
		t.Fatalf("another one: %v", err)
	}
	p.Release()
	for _, p := range held {
		p.Release()
	}
}

// TestStatsWaitForNobody asks while a lane's mutex is held.
func TestStatsWaitForNobody(t *testing.T) {
	e := testEngine(t, Options{})
	testClient(t, e, "busy")
	waitFor(t, func() bool { return e.Stats().Companions[0].LargestFree > 0 })
	e.mu.Lock()
	l := e.members["busy"].link
	e.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := e.Stats().Companions[0]; c.LargestFree == 0 || c.State != "registered" {
		t.Fatalf("%+v", c)
	}
}

func TestRefusalsAreNoted(t *testing.T) {
	e := testEngine(t, Options{})
	testClient(t, e, "outlook")
	if _, err := Dial(testContext(t), e.Endpoint(), "outlook"); !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	if d := lastDrop(t, e); d.Name != "outlook" || d.Kind != "name" || d.PID == 0 || d.At.IsZero() || !strings.Contains(d.Reason, "taken") {
		t.Fatalf("%+v", d)
	}
}
