package ipc

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// TestATurnIsOneBatch: a leader looks around after at most batch records, however
// many lie in its ring.
func TestATurnIsOneBatch(t *testing.T) {
	up, down := heapLane(256)
	p := producer{ring: up}
	l := &link{rx: consumer{ring: up}, tx: producer{ring: down}, nextID: 2, lastPeer: 1}
	for range 3*batch + 7 {
		r := newRecord(kindMessage, flagInline, 1, 0) // of a session that has ended
		p.push(&r)
	}
	for _, want := range []uint64{batch, 2 * batch, 3 * batch, 3*batch + 7, 3*batch + 7} {
		if l.pump(); l.pumped.Load() != want {
			t.Fatalf("%d records handled, want %d", l.pumped.Load(), want)
		}
	}
}

// TestWhoSpinsInVainSpinsLess: with each spin in vain it takes more short waits until
// the next one, and a hit makes that good.
func TestWhoSpinsInVainSpinsLess(t *testing.T) {
	up, down := heapLane(8)
	p := producer{ring: up}
	l := &link{rx: consumer{ring: up}, tx: producer{ring: down}}
	waits := func() (n int) {
		for n = 0; l.heat == 0; n++ {
			l.warm(1)
		}
		return n
	}
	for i, want := range []int{1, 1, 2, 2, 4, 4, 8, 8, 16, 16} {
		if got := waits(); got != want {
			t.Errorf("%d short waits after %d spins in vain, want %d", got, i, want)
		}
		if l.spin() || l.heat != 0 {
			t.Fatal("a spin on an empty ring was none in vain")
		}
	}
	waits()
	r := newRecord(kindRelease, 0, 0, 0)
	p.push(&r)
	for range 2 {
		if !l.spin() {
			t.Fatal("no hit with a record in the ring")
		}
	}
	l.chill()
	if got := waits(); got != 8 {
		t.Errorf("%d short waits after two hits and one more in vain, want 8", got)
	}
	l.noSpin, l.heat, l.cold = true, 0, 0
	if l.warm(2); l.heat != 0 || l.spin() {
		t.Error("it spins though it must not")
	}
}

// TestAFloodStopsAtItsWindow: who sends all it can to somebody who doesn't read gets
// rid of a window to the controller, of two and the one in the engine's hands to a
// companion; all others on the same lanes are served.
func TestAFloodStopsAtItsWindow(t *testing.T) {
	const window = 8
	e := testEngine(t, Options{Window: window})
	e.Handle("echo", echo)
	stuck := func(ctx context.Context, _ *Session) { <-ctx.Done() }
	e.Handle("stuck", stuck)
	flooder, quiet := testClient(t, e, "flooder"), testClient(t, e, "quiet")
	quiet.Handle("stuck", stuck)
	quiet.Handle("echo", echo)
	floodCtx, stop := context.WithCancel(testContext(t))
	defer stop()
	type sent struct {
		most, n int
		err     error
	}
	ends := make(chan sent, 8)
	flood := func(address string, size, most int) {
		s, err := flooder.Open(floodCtx, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, full := make([]byte, size), make(chan struct{})
		go func() {
			end := sent{most: most}
			for ; end.err == nil; end.n++ {
				if end.n == window {
					close(full)
				}
				end.err = s.SendBytes(floodCtx, body)
			}
			end.n--
			ends <- end
		}()
		<-full
	}
	for _, size := range []int{64, 100_000} {
		flood("controller/stuck", size, window)
		flood("quiet/stuck", size, 2*window+1)
	}
	ctx := testContext(t)
	for range 3 * window {
		for _, c := range []*Client{flooder, quiet} {
			asks(ctx, t, c, "controller/echo")
		}
		asks(ctx, t, flooder, "quiet/echo")
	}
	stop()
	for range cap(ends) / 2 {
		if end := <-ends; !errors.Is(end.err, context.Canceled) || end.n < window || end.n > end.most {
			t.Errorf("a flood got rid of %d messages and ended with %v, want %d to %d", end.n, end.err, window, end.most)
		}
	}
}

// asks calls an echo once.
func asks(ctx context.Context, t *testing.T, c *Client, address string) {
	t.Helper()
	s, err := c.Open(ctx, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	p, err := s.Alloc(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	p.Fill([]byte("hello"))
	m, err := s.Call(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	if !bytes.Equal(m.Bytes(), []byte("hello")) {
		t.Errorf("%s answered %q", address, m.Bytes())
	}
}
