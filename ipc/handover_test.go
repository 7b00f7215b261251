package ipc

import "testing"

// midwayConn calls during in the middle of passing an extent. What is written to it goes
// nowhere.
type midwayConn struct {
	conn
	during func()
}

func (c *midwayConn) write(kind uint8, _ []byte, _ ...grant) error {
	if kind == frameExtent {
		c.during()
	}
	return nil
}

// midwayMember is a companion of e, over heap memory, with such a stream.
func midwayMember(t *testing.T, e *Engine, during func()) *member {
	t.Helper()
	m, _ := e.stranger()
	if err := e.enter(m, "a", 1); err != nil {
		t.Fatal(err)
	}
	m.conn = &midwayConn{m.conn, during}
	engine, _ := joinedPair(t, 8, m, testHost{}, func(l *link) {
		if !l.companion {
			l.conn = &midwayConn{l.conn, func() {}}
		}
	})
	m.link = engine
	m.next.Store(2)
	m.ready.Store(true)
	return m
}

// TestAWishIsInHandUntilItIsAnswered: that the one before it was met is no answer to it.
func TestAWishIsInHandUntilItIsAnswered(t *testing.T) {
	e := listless(t, Options{Budget: 64 << 20, Share: 2 << 20})
	passed := make(chan struct{})
	m := midwayMember(t, e, func() {
		e.mu.Lock() // the first wish is met, and not through
		close(passed)
	})
	wish := le.AppendUint64(nil, 1)
	if err := m.want(wish); err != nil {
		t.Fatal(err)
	}
	<-passed
	err := m.want(le.AppendUint64(nil, uint64(e.opts.Largest))) // more than what is left
	e.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for {
		m.mu.Lock()
		growing := m.growing
		m.mu.Unlock()
		e.mu.Lock()
		denied := e.ledger.denial != nil
		e.mu.Unlock()
		if denied {
			return
		}
		if !growing {
			t.Fatal("the second wish passes for answered while it is not")
		}
	}
}
