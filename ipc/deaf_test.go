package ipc

import (
	"strings"
	"testing"
	"time"
)

// deafClient is registered and reads no frame after that, as a stopped process does.
func deafClient(t *testing.T, e *Engine, name string) (*Client, *member) {
	t.Helper()
	raw, pid, err := dialConn(testContext(t), e.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	c, err := enroll(raw, pid, hello{version: Version, name: name})
	if err != nil {
		_ = raw.close()
		t.Fatal(err)
	}
	return c, e.member(name)
}

// stuff writes trim frames until no more fit into the stream.
func stuff(t *testing.T, m *member) {
	t.Helper()
	box := m.conn.(interface{ self() *outbox }).self()
	for box.drained() == nil {
		if err := m.conn.write(frameTrim, nil); err != nil {
			t.Fatal(err)
		}
		box.settle()
	}
}

func (o *outbox) self() *outbox { return o }

// settle gives a delivery the time to come to an end or to a full stream.
func (o *outbox) settle() {
	for last, same := -1, 0; same < 50; same++ {
		o.mu.Lock()
		n, idle := len(o.queue), o.idle == nil
		o.mu.Unlock()
		if idle {
			return
		}
		if n != last {
			last, same = n, 0
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// TestADeafCompanionDelaysNobody: whatever the engine has to tell a companion that
// doesn't read waits for that one alone, and reaches it later.
func TestADeafCompanionDelaysNobody(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("echo", echo)
	c, m := deafClient(t, e, "deaf")
	served := make(chan struct{})
	defer func() {
		_ = c.link.conn.close()
		<-served
	}()
	stuff(t, m)
	held, err := m.link.tryAlloc(5000) // or the engine's own half would be trimmed to its floor
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	for range 100 { // each of these waited for the reader once
		m.link.act(doorbell)
		e.trim()
	}
	if err := m.enlarge(incoming, 1<<20); err != nil {
		t.Fatal(err)
	}
	m.parting(2, m.link.mem.extents[0].seg, false)
	if err := m.link.tell(frameForget, le.AppendUint32(nil, 2)); err != nil {
		t.Fatal(err)
	}
	s, err := testClient(t, e, "other").Open(testContext(t), "controller/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	go func() { // it wakes up
		defer close(served)
		c.link.serve(c.frame)
	}()
	waitFor(t, func() bool {
		m.link.mu.Lock()
		defer m.link.mu.Unlock()
		return len(m.link.mem.extents) == 2
	})
	waitFor(t, func() bool { // forgotten there, and said so
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.leaving) == 0
	})
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
}

// TestWhoNeverReadsIsDropped: even a patient engine keeps no more than so many frames.
func TestWhoNeverReadsIsDropped(t *testing.T) {
	e := testEngine(t, Options{})
	c, m := deafClient(t, e, "deaf")
	defer c.discard(ErrClosed)
	for m.link.tell(frameTrim, nil) == nil {
	}
	waitFor(t, func() bool { return len(e.Stats().Companions) == 0 })
	if d := e.Stats().Dropped; len(d) != 1 || !strings.Contains(d[0].Reason, "unread") {
		t.Fatalf("dropped: %+v", d)
	}
}
