package ipc

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// TestWhatOthersOpenDoesNotCountAgainstTheStopped: while a companion is stopped others may
// open more sessions to it than it may have itself. When it goes on, nobody drops it, and
// it drops nobody.
func TestWhatOthersOpenDoesNotCountAgainstTheStopped(t *testing.T) {
	for _, first := range []string{"it answers first", "it opens first"} {
		t.Run(first, func(t *testing.T) {
			e := testEngine(t, Options{Budget: 1 << 30})
			e.Handle("hold", func(ctx context.Context, _ *Session) { <-ctx.Done() })
			b := testClient(t, e, "b")
			b.Handle("x", func(ctx context.Context, s *Session) { _, _ = s.Recv(ctx) })
			goOn := stopReading(b)
			giveUp := crowd(t, e, "b/x", maxUnclosed+1000)
			opened := make(chan error, 1)
			open := func() {
				_, err := b.Open(testContext(t), "controller/hold", nil)
				opened <- err
			}
			if first == "it opens first" {
				go open()
				waitFor(t, func() bool { return b.link.waiters.Load() > 0 })
			}
			goOn()
			if first == "it answers first" {
				open()
			}
			if err := <-opened; err != nil {
				t.Error(err)
			}
			giveUp()
			waitFor(t, func() bool {
				b.link.mu.Lock()
				defer b.link.mu.Unlock()
				return b.link.err != nil || b.link.guests == 0
			})
			if b.Err() != nil || len(e.Stats().Dropped) > 0 {
				t.Errorf("%v %+v", b.Err(), e.Stats().Dropped)
			}
		})
	}
}

// crowd has many companions open sessions, as many as the engine lets them, and waits for
// that. giveUp ends them.
func crowd(t *testing.T, e *Engine, address string, sessions int) (giveUp func()) {
	ctx, cancel := context.WithCancel(testContext(t))
	var refused atomic.Int64
	for i := range sessions/1000 + 1 {
		a := testClient(t, e, fmt.Sprint("a", i))
		for range min(1000, sessions-1000*i) {
			go func() {
				if s, err := a.Open(ctx, address, nil); err == nil {
					<-ctx.Done()
					_ = s.Close()
				} else {
					refused.Add(1)
				}
			}()
		}
	}
	target := e.member("b").link
	waitFor(t, func() bool { return int64(target.hosts())+refused.Load() >= int64(sessions) })
	if n := target.hosts(); n < maxUnclosed || n > maxUnclosed+1000 { // those who ask at once may pass
		t.Errorf("%d sessions to one that does not answer", n)
	}
	return cancel
}

// refillingHost has a record follow for each that it is given.
type refillingHost struct {
	testHost
	push func()
}

func (h refillingHost) open(*Session, opening) *closing {
	h.push()
	return &closing{code: closeRefused}
}

// TestWhoHasHungUpIsNotServed: what was written before the end of the control stream
// counts, and nothing that is written after it: the ring never runs empty here.
func TestWhoHasHungUpIsNotServed(t *testing.T) {
	var push func()
	engine, a := heapPair(t, 8, refillingHost{push: func() { push() }}, testHost{})
	up, _ := laneRings(a.lane.Bytes(), a.slots)
	goOn := stopReading(&Client{link: a})
	defer goOn()
	p, id := producer{ring: up, tail: a.tx.tail}, a.nextID
	push = func() {
		r := newRecord(kindOpen, 0, id, 8)
		r.setInline(opening{address: "x/y"}.encode())
		p.push(&r)
		id += 2
	}
	for !engine.takeLead() {
		time.Sleep(time.Millisecond)
	}
	push()
	engine.pumpAll()
	if n := engine.pumped.Load(); n > uint64(engine.slots)+batch {
		t.Errorf("%d records of a ring of %d were served", n, engine.slots)
	}
	engine.unlead()
}
