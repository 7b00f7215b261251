//go:build !race

package ipc

import "testing"

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
