package ipc

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// hastyConn hears a doorbell just before registered: the engine may ring as soon as
// the companion is in the directory.
type hastyConn struct {
	conn
	kept *frame
}

func (h *hastyConn) read() (frame, error) {
	if h.kept != nil {
		f := *h.kept
		h.kept = nil
		return f, nil
	}
	f, err := h.conn.read()
	if err == nil && f.kind == frameRegistered {
		h.kept = &f
		return frame{kind: frameDoorbell}, nil
	}
	return f, err
}

func TestADoorbellMayComeBeforeRegistered(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("echo", echo)
	raw, pid, err := dialConn(testContext(t), e.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	c, err := enroll(&hastyConn{conn: raw}, pid, hello{version: Version, name: "shell"})
	if err != nil {
		_ = raw.close()
		t.Fatal(err)
	}
	c.discard(ErrClosed)
}

// deafConn loses every doorbell, as a stream does that is full of other frames.
type deafConn struct {
	conn
	deaf atomic.Bool
}

func (d *deafConn) hint(kind uint8) {
	if !d.deaf.Load() || kind != frameDoorbell {
		d.conn.hint(kind)
	}
}

func TestALostDoorbellIsMadeUpForByAnyFrame(t *testing.T) {
	engine, companion := heapPair(t, 8, testHost{}, testHost{echo})
	ctx := testContext(t)
	s, err := engine.openSession(ctx, opening{address: "c/echo"}, "c", "echo")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { // the companion has gone cold, and no timer will have it look
		return engine.tx.wake.Load() == doorbell && companion.watched.Load() == 0 && companion.leader.Load() == leaderless
	})
	deaf := engine.conn.(*deafConn)
	deaf.deaf.Store(true)
	p, err := s.Alloc(ctx, 10)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		m, err := s.Call(ctx, p)
		if err == nil {
			m.Release()
		}
		got <- err
	}()
	// Published, the bell not heard; or answered already: an earlier bell may come late.
	waitFor(t, func() bool { return engine.tx.wake.Load() == awake || len(got) > 0 })
	if err := deaf.write(frameTrim, nil); err != nil {
		t.Fatal(err)
	}
	deaf.deaf.Store(false)
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

// TestAWholeSegmentAfterTheClose: one goroutine sends while another closes.
func TestAWholeSegmentAfterTheClose(t *testing.T) {
	needsWhole(t)
	e := testEngine(t, Options{})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	b.Handle("x", func(ctx context.Context, s *Session) { _, _ = s.Recv(ctx) })
	before := e.Stats().Used
	ctx := testContext(t)
	for i := range 3 {
		s, err := a.Open(ctx, "b/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Alloc(ctx, 5<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.takeCredit(ctx); err != nil {
			t.Fatal(err)
		}
		s.l.mu.Unlock()
		_ = s.Close()
		if i > 0 { // by now the engine has closed its end as well
			waitFor(t, func() bool { return e.Stats().Companions[0].Sessions == 0 })
		}
		if err := s.sendWhole(ctx, p, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return e.Stats().Used == before })
	if a.Err() != nil || b.Err() != nil {
		t.Fatalf("dropped: %v, %v", a.Err(), b.Err())
	}
}

func TestHalfARegistrationIsRefused(t *testing.T) {
	e := testEngine(t, Options{})
	c, _, err := dialConn(testContext(t), e.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	if err := c.write(frameHello, hello{version: Version, name: "half"}.encode()); err != nil {
		t.Fatal(err)
	}
	for range 3 { // says three times that it has mapped the lane
		if err := c.write(frameMapped, le.AppendUint32(nil, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for {
		f, err := c.read()
		closeHandles(f.handles)
		if err != nil || f.kind == frameRefused {
			return
		}
		if f.kind == frameRegistered {
			t.Fatal("registered without an extent")
		}
	}
}

func TestCloseDoesNotWaitForStrangers(t *testing.T) {
	e, err := NewEngine(testSession(t), Options{patience: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := dialConn(testContext(t), e.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	waitFor(t, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.present) == 1
	})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err := c.read(); err == nil && f.kind != frameRefused {
		t.Fatal(fmt.Sprint("frame ", f.kind), errors.New("instead of the end"))
	}
}

// TestALaneOutlivesADeposedLeader: who takes a lane down does not wait for a leader
// that has let go of the processor, and does not unmap the lane under it either.
func TestALaneOutlivesADeposedLeader(t *testing.T) {
	gone := make(chan struct{})
	engine, companion := heapPair(t, 8, mourner{testHost{}, gone}, testHost{})
	waitFor(t, engine.takeLead)
	engine.leader.Swap(yielding)
	companion.fail(ErrClosed)
	<-gone
	if engine.lane.Bytes() == nil {
		t.Fatal("the lane was unmapped under its leader")
	}
	if engine.regain() {
		t.Fatal("the leader went on with a lane that is being taken down")
	}
	if engine.lane.Bytes() != nil {
		t.Fatal("nobody gave the lane back")
	}
}

// mourner is told when its link is down.
type mourner struct {
	testHost
	gone chan struct{}
}

func (m mourner) dead(*link, error) { close(m.gone) }
