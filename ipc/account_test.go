package ipc

import "testing"

// TestWhoHasItsShareTroublesNobody: no memory of others would help it.
func TestWhoHasItsShareTroublesNobody(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20, Share: 8 << 20})
	testClient(t, e, "calm")
	greedy := testClient(t, e, "greedy", Sizes(64<<10, 64<<10))
	p, err := greedy.Alloc(testContext(t), 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	if _, err := greedy.TryAlloc(5 << 20); err == nil {
		t.Fatal("more than its share")
	}
	waitFor(t, func() bool { return e.Stats().LastDenied != nil })
	l := e.member("calm").link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mem.extents[0].seg.Size() <= floorSize {
		t.Fatal("nothing could be asked of it")
	}
	if l.pressed || l.floored {
		t.Error("another companion was asked for its memory")
	}
}

// trimmedConn says when its companion has done what a trim asks for.
type trimmedConn struct {
	conn
	last    uint8
	trimmed chan struct{}
}

func (c *trimmedConn) read() (frame, error) {
	if c.last == frameTrim {
		select {
		case c.trimmed <- struct{}{}:
		default:
		}
	}
	f, err := c.conn.read()
	c.last = f.kind
	return f, err
}

// TestWhoWaitsToEnterIsNotForgotten: what was in use when it came, and is kept warm since,
// is asked back for it.
func TestWhoWaitsToEnterIsNotForgotten(t *testing.T) {
	e := testEngine(t, Options{Budget: 3*floorSize + 1<<20, Share: 3*floorSize + 1<<20})
	raw, pid, err := dialConn(testContext(t), e.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	conn := &trimmedConn{conn: raw, trimmed: make(chan struct{}, 1)}
	a, err := enroll(conn, pid, hello{version: Version, name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(a.served)
		a.link.serve(a.frame)
	}()
	defer func() { _ = a.Close() }()
	a.link.mu.Lock()
	a.link.floored = true // memory was short before
	a.link.mu.Unlock()
	p, err := a.Alloc(testContext(t), 200<<10)
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan error, 1)
	go func() {
		b, err := Dial(testContext(t), e.Endpoint(), "b")
		if err == nil {
			err = b.Close()
		}
		entered <- err
	}()
	<-conn.trimmed
	p.Release()
	if err := <-entered; err != nil {
		t.Errorf("%v, with %+v", err, e.Stats())
	}
}
