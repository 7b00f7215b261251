package ipc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestBlocksGrowAndShrink lets both halves of a block grow and waits until the
// surplus is given back.
func TestBlocksGrowAndShrink(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("echo", echo)
	c := testClient(t, e, "outlook", Sizes(1<<20, 1<<20))
	ctx := testContext(t)
	before := e.Stats().Used
	files := resources(t)
	s, err := c.Open(ctx, "controller/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	p, err := s.Alloc(ctx, 20<<20)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Call(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if used := e.Stats().Used; used < before+40<<20 {
		t.Fatalf("%d bytes of blocks before, %d while 20 MiB go there and back", before, used)
	}
	m.Release()
	waitFor(t, func() bool { return e.Stats().Used == before && !resources(t).exceeds(files) })
}

// TestASpentBudgetIsBalanced: what one companion doesn't use any more is there for
// another at once.
func TestASpentBudgetIsBalanced(t *testing.T) {
	e := testEngine(t, Options{Budget: 32 << 20, Largest: 24 << 20})
	a, b := testClient(t, e, "a", Sizes(1<<20, 64<<10)), testClient(t, e, "b", Sizes(1<<20, 64<<10))
	ctx := testContext(t)
	for i := range 6 {
		c := []*Client{a, b}[i%2]
		p, err := c.Alloc(ctx, 20<<20)
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		p.Release()
	}
}

// TestIdleBlocksShrinkToTheirFloor: one companion gets what many others were given at
// their start and don't use; these go on with what is left to them, and get more again.
func TestIdleBlocksShrinkToTheirFloor(t *testing.T) {
	const others, budget = 48, 64 << 20
	e := testEngine(t, Options{Budget: budget, Share: budget, Largest: budget})
	e.Handle("digest", digest)
	var all []*Client
	for i := range others {
		all = append(all, testClient(t, e, fmt.Sprint("idle", i)))
	}
	held, err := all[0].Alloc(testContext(t), 8<<10) // who uses it, keeps it
	if err != nil {
		t.Fatal(err)
	}
	fill(held.Bytes(), 7)
	before := e.Stats()
	hog, ctx := testClient(t, e, "hog", Sizes(64<<10, 64<<10)), testContext(t)
	const much = budget - others*2*floorSize - 4<<20
	if before.Used+much <= budget {
		t.Fatalf("%d bytes are used: there is room for %d", before.Used, much)
	}
	var p *Parcel
	waitFor(t, func() bool { p, err = hog.Alloc(ctx, much); return err == nil })
	waitFor(t, func() bool { // not all were needed, but all are asked
		small := 0
		for _, c := range e.Stats().Companions {
			if c.BlockBytes == 2*floorSize {
				small++
			}
		}
		return small == others-1
	})
	if c := e.Stats().Companions[1]; c.Name != "idle0" || c.BlockBytes <= 2*floorSize {
		t.Errorf("who uses its memory is left with %+v", c)
	}
	body := make([]byte, 5*floorSize+1)
	fill(body, 3)
	want := sha256.Sum256(body)
	for _, c := range all { // in their floors
		got, err := c.Carry(ctx, "digest", nil, bytes.NewReader(body))
		if err != nil || !bytes.Equal(got, want[:]) {
			t.Fatalf("%s: %x, %v", c.Name(), got, err)
		}
	}
	kept := make([]byte, 8<<10)
	if fill(kept, 7); !bytes.Equal(held.Bytes(), kept) {
		t.Fatal("what was held has changed")
	}
	held.Release()
	p.Release()
	for _, c := range all {
		p, err := c.Alloc(ctx, 200<<10) // more than a floor holds
		if err != nil {
			t.Fatalf("%s: %v", c.Name(), err)
		}
		p.Release()
	}
}

// TestTheLastExtentIsSwappedOnce: whatever a companion forgets, it never takes more of
// the budget than it has, and gets no floor for a floor.
func TestTheLastExtentIsSwappedOnce(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20})
	c := enrollRaw(t, e, "raw")
	used := func() int64 { return e.Stats().Used }
	if f := c.want(t, 100<<10); f != frameExtent {
		t.Fatalf("frame %d", f)
	}
	before := used()
	c.extents = append(c.extents[1:], c.extents[0])
	c.giveBack(t) // a small one; another is there
	waitFor(t, func() bool { return used() == before-64<<10 })
	c.giveBack(t) // the last, of a megabyte
	c.until(t, frameExtent)
	waitFor(t, func() bool { return used() == 2*floorSize })
	c.giveBack(t)
	waitFor(t, func() bool { return used() == floorSize })
	if f := c.want(t, 1); f != frameExtent {
		t.Fatalf("from nothing: frame %d", f)
	}
	e.mu.Lock() // so that its floor is still being made
	c.giveBack(t)
	_ = c.conn.write(frameWant, le.AppendUint64(nil, 1))
	c.until(t, frameFailure)
	e.mu.Unlock()
	if d := lastDrop(t, e); d.Kind != "protocol" {
		t.Fatalf("%+v", d)
	}
	waitFor(t, func() bool { return len(e.Stats().Companions) == 0 && used() == 0 })
}

// TestBlocksShrinkWhileTheyWork: memory is short all the time, companions rest for
// about as long as an extent must lie idle, and not one message fails or changes.
func TestBlocksShrinkWhileTheyWork(t *testing.T) {
	e := testEngine(t, Options{Budget: 1 << 30})
	e.Handle("echo", echo)
	ctx, stop := context.WithTimeout(context.Background(), time.Duration(tortures(2, 60))*time.Second)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			e.trim()
			time.Sleep(10 * time.Millisecond)
		}
	})
	for i := range 6 {
		c := testClient(t, e, fmt.Sprint("worker", i))
		c.Handle("echo", echo)
		to := []string{"controller/echo", fmt.Sprint("worker", (i+1)%6, "/echo")}[i%2]
		wg.Go(func() { work(ctx, t, c, to, uint64(i)) })
	}
	wg.Wait()
	waitFor(t, func() bool { // and with nothing to do, to the floor
		e.trim()
		return e.Stats().Used == 6*2*floorSize
	})
}

// work calls another one, in bursts, until ctx ends.
func work(ctx context.Context, t *testing.T, c *Client, to string, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 5))
	var s *Session
	waitFor(t, func() (ok bool) {
		var err error
		s, err = c.Open(testContext(t), to, nil)
		return err == nil
	})
	for ctx.Err() == nil {
		for range 1 + rnd.IntN(20) {
			if err := callOnce(testContext(t), s, rnd.IntN(1000)); err != nil {
				t.Errorf("%s to %s: %v", c.Name(), to, err)
				return
			}
		}
		time.Sleep(time.Duration(rnd.Int64N(int64(3 * pressedTime))))
	}
}
