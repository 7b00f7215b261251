//go:build !race

package ipc

import (
	"context"
	"runtime/debug"
	"testing"
	"time"
)

// TestASenderThatAsksForRoomMeetsAFault goes through the ways to a full ring, which the
// table above meets by chance only.
func TestASenderThatAsksForRoomMeetsAFault(t *testing.T) {
	e := testEngine(t, Options{})
	for name, ask := range map[string]func(l *link) error{
		"backlog": func(l *link) error {
			r := newRecord(kindCredit, 0, 1, 1)
			l.backlog = append(l.backlog, r)
			_, err := l.drainBacklog()
			return err
		},
		"waiter": func(l *link) error { _, err := l.freshRoom(); return err },
		"leader": func(l *link) error { _, err := l.knownRoom(); return err },
		"record": func(l *link) error { _, err := l.transmit(&record{}); return err },
		"answer": func(l *link) error { _, err := l.transmitOrKeep(&record{}); return err },
	} {
		c := testClient(t, e, name)
		r := &lossRig{T: t}
		waitFor(t, c.link.takeLead) // nobody else shall meet it
		r.lose(c.link, theLane)
		c.link.txMu.Lock()
		c.link.tx.seen = c.link.tx.tail - uint32(len(c.link.tx.slots)) // full, as far as it knows
		c.link.txMu.Unlock()
		r.wantFault(ask(c.link))
		if !freeLock(&c.link.txMu) {
			t.Errorf("%s: the sender's lock was left behind", name)
		}
		c.link.unlead()
		_ = c.Close()
	}
	if drops := e.Stats().Drops; len(drops) != 0 {
		t.Errorf("drops %v", drops)
	}
}

// TestAFlowThatABatchHasStirredRunsAfterAFault: the session that stirred it is off the
// list already, and the end of the link finds it no more.
func TestAFlowThatABatchHasStirredRunsAfterAFault(t *testing.T) {
	r := newLossRig(t)
	served := make(chan error, 1)
	r.mate.Handle("wait", func(ctx context.Context, s *Session) {
		_, err := s.Recv(ctx)
		served <- err
	})
	r.open(r.victim, "mate/wait")
	l := r.vl
	waitFor(t, func() bool { return relayedSession(l) != nil && l.takeLead() })
	s := relayedSession(l)
	func() {
		defer l.rescue(debug.SetPanicOnFault(true), false)
		r.lose(l, theLane)
		l.mu.Lock()
		l.dispatching = true
		s.closed = true // by this side; and now a record says that the other has, too
		s.end(closing{code: closeDone})
		l.rx.ready()
	}()
	select {
	case err := <-served:
		if err == nil {
			t.Error("a message came")
		}
	case <-time.After(5 * time.Second):
		t.Error("the other companion is not told of the end")
	}
}

// relayedSession is one that is joined to a session with another companion, or nil.
func relayedSession(l *link) *Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sessions {
		if s.out != nil {
			return s
		}
	}
	return nil
}
