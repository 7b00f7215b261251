package ipc

import (
	"context"
	"errors"
	"io"
	"testing"

	"berth/internal/shm"
)

// A message that is a segment may be read before the frame that brings it.

// passer is the engine's end of a session whose companion holds what comes early.
type passer struct {
	*testing.T
	e                 *Engine
	engine, companion *link
	there             *Session
	used              int64 // of the budget, before
}

func newPasser(t *testing.T) (p passer, here *Session) {
	t.Helper()
	p.T = t
	served := make(chan *Session, 2)
	p.e = listless(t, Options{Budget: 64 << 20})
	p.companion = heapCompanion(t, p.e, "c", func(ctx context.Context, s *Session) {
		served <- s
		<-t.Context().Done()
	})
	p.engine = p.e.member("c").link
	s, err := p.engine.openSession(testContext(t), opening{address: "c/x"}, "c", "x")
	if err != nil {
		t.Fatal(err)
	}
	p.there, p.used = s, p.e.used
	return p, <-served
}

// announce posts the message that segment is.
func (p passer) announce(segment uint32) {
	r := newRecord(kindMessage, flagWhole, p.there.id, 0)
	r.setLocation(location{segment, 1, 0, 5000})
	p.e.mu.Lock()
	p.e.book(p.e.members["c"], 64<<10)
	p.e.mu.Unlock()
	p.engine.mu.Lock()
	defer p.engine.mu.Unlock()
	p.engine.passages[segment] = passage{session: p.there.id, size: 64 << 10}
	p.engine.post(&r)
}

func (p passer) say(what string) {
	p.Helper()
	if err := p.there.SendBytes(testContext(p.T), []byte(what)); err != nil {
		p.Fatal(err)
	}
}

// bring has a segment come, full of one byte.
func (p passer) bring(segment uint32, full byte) {
	p.Helper()
	seg := shm.HeapSegment(64 << 10)
	fill(seg.Bytes(), full)
	f := newForeign(segment, seg)
	f.passed = true
	if err := p.companion.hold(f); err != nil {
		p.Fatal(err)
	}
}

// parked waits until the companion keeps so many records.
func (p passer) parked(here *Session, n int) {
	p.Helper()
	waitFor(p.T, func() bool {
		p.companion.mu.Lock()
		defer p.companion.mu.Unlock()
		return len(here.parked) == n
	})
}

// TestAMessageWaitsForItsSegment, and everything after it in its session, the end too;
// other sessions don't.
func TestAMessageWaitsForItsSegment(t *testing.T) {
	p, here := newPasser(t)
	p.say("before")
	p.announce(7)
	p.say("between")
	p.announce(8)
	p.say("after")
	_ = p.there.Close()
	p.parked(here, 5)
	if s, err := p.engine.openSession(testContext(t), opening{address: "c/x"}, "c", "x"); err != nil {
		t.Errorf("another session waits too: %v", err)
	} else {
		defer func() { _ = s.Close() }()
	}
	want := func(first byte, n int) {
		t.Helper()
		m, err := here.Recv(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Release()
		if m.Bytes()[0] != first || len(m.Bytes()) != n {
			t.Errorf("%d bytes, %q first; wanted %d, %q", len(m.Bytes()), m.Bytes()[0], n, first)
		}
	}
	want('b', len("before"))
	p.bring(8, 'Y')
	p.parked(here, 5)
	p.bring(7, 'X')
	want('X', 5000)
	want('b', len("between"))
	want('Y', 5000)
	want('a', len("after"))
	if _, err := here.Recv(testContext(t)); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
	_ = here.Close()
	p.nothingLeft()
}

// nothingLeft waits until the companion has let go of everything, and nothing is on its account.
func (p passer) nothingLeft() {
	p.Helper()
	waitFor(p.T, func() bool {
		p.e.mu.Lock()
		used := p.e.used - p.used
		p.e.mu.Unlock()
		p.companion.mu.Lock()
		defer p.companion.mu.Unlock()
		return used == 0 && len(p.companion.expected) == 0 && len(p.companion.theirs) == 1 && p.companion.leased == 0 // one is the half
	})
}

// TestASegmentForWhoHasClosed is given back at once, however late it comes.
func TestASegmentForWhoHasClosed(t *testing.T) {
	p, here := newPasser(t)
	p.announce(7)
	p.parked(here, 1)
	_ = here.Close()
	_ = p.there.Close()
	p.parked(here, 2)
	p.bring(7, 'X')
	p.nothingLeft()
	if err := p.companion.cause(); err != nil {
		t.Fatal(err)
	}
}

// TestSegmentsThatNeverCome: the end of the link ends the wait, and an engine that goes on
// and on without them is none.
func TestSegmentsThatNeverCome(t *testing.T) {
	p, here := newPasser(t)
	p.announce(7)
	p.parked(here, 1)
	p.engine.fail(errors.New("killed"))
	if _, err := here.Recv(testContext(t)); !errors.Is(err, ErrPeer) {
		t.Errorf("the wait ended with %v", err)
	}
	p, here = newPasser(t)
	for range 100 {
		p.announce(7)
	}
	if _, err := here.Recv(testContext(t)); !errors.Is(err, ErrProtocol) {
		t.Errorf("the flood ended with %v", err)
	}
}
