package ipc

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// rawCompanion speaks the protocol itself, and no more of it than a test asks for.
type rawCompanion struct {
	conn    conn
	extents []uint32 // passed to it, outgoing
}

// enrollRaw registers one that maps nothing, whatever it says.
func enrollRaw(t *testing.T, e *Engine, name string) *rawCompanion {
	t.Helper()
	raw, _, err := dialConn(testContext(t), e.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.close() })
	c := &rawCompanion{conn: raw}
	if err := raw.write(frameHello, hello{version: Version, name: name, outgoing: 64 << 10, incoming: 64 << 10}.encode()); err != nil {
		t.Fatal(err)
	}
	c.until(t, frameWelcome)
	_ = raw.write(frameMapped, le.AppendUint32(nil, 0))
	for number := range uint32(2) {
		c.until(t, frameExtent)
		_ = raw.write(frameMapped, le.AppendUint32(nil, number+1))
	}
	c.until(t, frameRegistered)
	return c
}

// until reads frames up to the first of these kinds and says which it was.
func (c *rawCompanion) until(t *testing.T, kinds ...uint8) uint8 {
	t.Helper()
	for {
		f, err := c.conn.read()
		if err != nil {
			t.Fatalf("waiting for frame %v: %v", kinds, err)
		}
		closeHandles(f.handles)
		if e, err := decodeExtent(f.body); f.kind == frameExtent && err == nil && e.half == outgoing {
			c.extents = append(c.extents, e.segment)
		}
		if slices.Contains(kinds, f.kind) {
			return f.kind
		}
	}
}

// want asks for memory and answers the kind of the answer.
func (c *rawCompanion) want(t *testing.T, n uint64) uint8 {
	t.Helper()
	if err := c.conn.write(frameWant, le.AppendUint64(nil, n)); err != nil {
		t.Fatal(err)
	}
	return c.until(t, frameExtent, frameDenied)
}

// giveBack lets go of the newest extent.
func (c *rawCompanion) giveBack(t *testing.T) {
	t.Helper()
	last := c.extents[len(c.extents)-1]
	c.extents = c.extents[:len(c.extents)-1]
	if err := c.conn.write(frameForget, le.AppendUint32(nil, last)); err != nil {
		t.Fatal(err)
	}
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

// TestIdleDoorbellsAreCounted: so many for nothing, and as many more as were called for.
func TestIdleDoorbellsAreCounted(t *testing.T) {
	for name, c := range map[string]struct{ arms, want int }{
		"nobody asked":       {0, idleRings},
		"asked for some":     {100, idleRings + 100},
		"asked for too many": {1000, 2 * idleRings}, // calls that were not answered are no savings
	} {
		l := &link{}
		l.arms.Store(uint32(c.arms))
		var w watchman
		n := 0
		for w.rung(l) == nil {
			n++
		}
		if n != c.want {
			t.Errorf("%s: %d doorbells, want %d", name, n, c.want)
		}
	}
}

// TestWhoFloodsFramesIsSlowedDown: and neither dropped nor misunderstood, and the
// others don't notice. The last frame is a wish for memory: its answer says that all
// before it have been handled.
func TestWhoFloodsFramesIsSlowedDown(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("echo", echo)
	flooder := testClient(t, e, "flooder", Sizes(64<<10, 64<<10))
	s, err := testClient(t, e, "other").Open(testContext(t), "controller/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	const frames = 4 * frameRate
	start := time.Now()
	for range frames {
		if err := flooder.link.conn.write(frameWatch, le.AppendUint32(nil, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 200 {
		if err := callOnce(testContext(t), s, n); err != nil {
			t.Fatalf("another one: %v", err)
		}
	}
	p, err := flooder.Alloc(testContext(t), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	p.Release()
	// Of each second's frames those beyond the first thousand took a millisecond each.
	if took := time.Since(start); took < time.Second {
		t.Fatalf("%d frames were answered within %v", frames, took)
	}
	if d := e.Stats().Dropped; len(d) > 0 {
		t.Fatalf("dropped: %+v", d)
	}
}

// TestNobodyGetsMoreExtentsThanTheCap: a companion that wants more and more and maps
// nothing is refused by that name, for as long as it gives nothing back. (1,024 of them
// take a gigabyte: with BERTH_TORTURE=1.)
func TestNobodyGetsMoreExtentsThanTheCap(t *testing.T) {
	most := tortures(24, maxExtents)
	e := testEngine(t, Options{Budget: 4 << 30, extents: most})
	e.Handle("echo", echo)
	s, err := testClient(t, e, "other").Open(testContext(t), "controller/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	usual := resources(t)
	c := enrollRaw(t, e, "hoarder")
	for have := 2; have < most; have++ {
		if f := c.want(t, 1); f != frameExtent {
			t.Fatalf("%d extents, and it was answered by frame %d", have, f)
		}
	}
	for n := range 3 {
		if f := c.want(t, 1); f != frameDenied {
			t.Fatalf("beyond the cap it was answered by frame %d", f)
		}
		if err := callOnce(testContext(t), s, n); err != nil {
			t.Fatalf("another one: %v", err)
		}
	}
	if d := e.Stats().LastDenied; d == nil || d.Name != "hoarder" || !strings.Contains(d.Reason, fmt.Sprintf("%d extents already", most)) {
		t.Fatalf("denied: %+v", d)
	}
	if r := resources(t); r.maps > usual.maps+most+8 {
		t.Fatalf("%+v before, %+v with %d extents", usual, r, most)
	}
	c.giveBack(t)
	if f := c.want(t, 1); f != frameExtent {
		t.Fatalf("with one less it was answered by frame %d", f)
	}
	_ = c.conn.close()
	waitFor(t, func() bool { return len(e.Stats().Companions) == 1 && !resources(t).exceeds(usual) })
}

// TestNobodyWishesTwiceAtOnce: or a wish would cost less than its answer.
func TestNobodyWishesTwiceAtOnce(t *testing.T) {
	e := testEngine(t, Options{})
	c := enrollRaw(t, e, "impatient")
	m := e.member("impatient")
	m.mu.Lock()
	m.growing = true // its first wish is being met
	m.mu.Unlock()
	_ = c.conn.write(frameWant, le.AppendUint64(nil, 1))
	if d := lastDrop(t, e); d.Name != "impatient" || d.Kind != "protocol" || !strings.Contains(d.Reason, "last wish") {
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
	l := e.member("busy").link
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
