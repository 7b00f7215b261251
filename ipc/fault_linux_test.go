package ipc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMemoryThatVanishesAtAnyMoment takes memory away from a busy companion, at
// random places and moments: whole segments and single pages, under the engine and
// under the companion. Nobody gets wrong bytes, and nothing stays behind.
func TestMemoryThatVanishesAtAnyMoment(t *testing.T) {
	rounds := tortures(40, 2000)
	if testing.Short() {
		rounds = 10
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := newLossRig(t)
	r.e.Handle("echo", tidyEcho)
	r.mate.Handle("echo", tidyEcho)
	_ = r.victim.Close()
	waitFor(t, func() bool { return len(r.e.Stats().Companions) == 2 })
	before, goroutines := resources(t), runtime.NumGoroutine()
	var ends []*link
	for i := range rounds {
		r.lossRound(rand.New(rand.NewPCG(seed, uint64(i))))
		ends = append(ends, r.vl, r.victim.link)
	}
	for _, l := range ends {
		waitFor(t, l.holdsNothing)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%+v where it was %+v; %+v\n%s", resources(t), before, r.e.Stats(), memfds(t))
		}
	})
	waitFor(t, func() bool { return !resources(t).exceeds(before) })
	settle(t, goroutines)
	drops := r.e.Stats().Drops
	if len(drops) != 1 || drops["fault"] == 0 {
		t.Errorf("drops: %v", drops)
	}
	t.Logf("%d rounds, the engine met %d faults itself", rounds, drops["fault"])
}

// holdsNothing says whether a dead link has given every segment back.
func (l *link) holdsNothing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.mem.extents {
		if !e.closed {
			return false
		}
	}
	return len(l.theirs) == 0
}

func (r *lossRig) lossRound(rnd *rand.Rand) {
	r.ctx = testContext(r) // the rounds together may take longer than one has
	r.enlist()
	r.victim.Handle("echo", tidyEcho)
	var wg sync.WaitGroup
	for _, work := range []func(context.Context, *Client, int) error{callEngine, callMate, carryDigest} {
		wg.Go(func() {
			for n := 0; work(r.ctx, r.victim, n) == nil; n++ {
			}
		})
	}
	wg.Go(func() { // towards the victim
		s, err := r.mate.Open(r.ctx, "victim/echo", nil)
		for n := 0; err == nil; n++ {
			err = callSafely(r.ctx, s, n)
		}
	})
	until := r.vl.pumped.Load() + 20 + rnd.Uint64N(500)
	waitFor(r, func() bool { return r.vl.pumped.Load() >= until })
	r.loseSome(rnd)
	for range 3 {
		if err := callOnce(r.ctx, r.calls, rnd.IntN(100)); err != nil {
			r.Fatal("the honest companion:", err)
		}
	}
	_ = r.victim.Close() // when it was a page that nobody looked at
	wg.Wait()
	waitFor(r, func() bool { return len(r.e.Stats().Companions) == 2 })
}

// loseSome has one segment vanish, or one page of it.
func (r *lossRig) loseSome(rnd *rand.Rand) {
	whats := []func(*link) [][]byte{ownHalf, otherHalf}
	if !underRace {
		whats = append(whats, theLane)
	}
	what, page := whats[rnd.IntN(len(whats))], os.Getpagesize()
	r.lose([]*link{r.vl, r.victim.link}[rnd.IntN(2)], func(l *link) [][]byte {
		all := what(l)
		if len(all) == 0 {
			return nil
		}
		b := all[rnd.IntN(len(all))]
		if rnd.IntN(2) == 0 {
			at := rnd.IntN(min(32, len(b)/page)) * page
			b = b[at : at+page]
		}
		return [][]byte{b}
	})
}

func callEngine(ctx context.Context, c *Client, n int) error {
	return openAndCall(ctx, c, "controller/echo", n)
}

func callMate(ctx context.Context, c *Client, n int) error {
	return openAndCall(ctx, c, "mate/echo", n)
}

func openAndCall(ctx context.Context, c *Client, address string, n int) error {
	s, err := c.Open(ctx, address, nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	for i := range 5 {
		if err := callSafely(ctx, s, n+i); err != nil {
			return err
		}
	}
	return nil
}

// callSafely sends n's payload to an echo, for who may lose the memory under it.
// What comes back without an error must be right.
func callSafely(ctx context.Context, s *Session, n int) (err error) {
	if fault := s.Guard(func() { err = tidyCall(ctx, s, n) }); fault != nil {
		return fault
	}
	return err
}

func tidyCall(ctx context.Context, s *Session, n int) error {
	p, err := s.Alloc(ctx, n*7919%300_000)
	if err != nil {
		return err
	}
	defer func() { releaseHeld(p) }()
	want := make([]byte, len(p.Bytes()))
	fill(want, byte(n))
	copy(p.Bytes(), want)
	sent := p
	p = nil
	m, err := s.Call(ctx, sent)
	if err != nil {
		return err
	}
	defer m.Release()
	if !bytes.Equal(m.Bytes(), want) {
		panic(fmt.Sprintf("message %d came back changed", n))
	}
	return nil
}

// releaseHeld is for deferred calls: p is nil once it was sent.
func releaseHeld(p *Parcel) {
	if p != nil {
		p.Release()
	}
}

// tidyEcho is echo that leaves nothing behind, wherever it ends.
func tidyEcho(ctx context.Context, s *Session) {
	for echoOne(ctx, s) == nil {
	}
}

func echoOne(ctx context.Context, s *Session) error {
	m, err := s.Recv(ctx)
	if err != nil {
		return err
	}
	defer m.Release()
	p, err := s.Alloc(ctx, len(m.Bytes()))
	if err != nil {
		return err
	}
	defer func() { releaseHeld(p) }()
	copy(p.Bytes(), m.Bytes())
	sent := p
	p = nil
	return s.Reply(ctx, m, sent)
}

func carryDigest(ctx context.Context, c *Client, n int) error {
	body := make([]byte, 200_000+n)
	fill(body, byte(n))
	want := sha256.Sum256(body)
	got, err := c.Carry(ctx, "digest", nil, bytes.NewReader(body))
	if err == nil && !bytes.Equal(got, want[:]) {
		panic(fmt.Sprintf("wrong bytes in stream %d", n))
	}
	return err
}

// TestLookingForAFaultWhileASegmentIsFrozen: Freeze takes the memory out of the segment.
func TestLookingForAFaultWhileASegmentIsFrozen(t *testing.T) {
	e := testEngine(t, Options{})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	b.Handle("x", echoNothing)
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	l := e.member("a").link
	var stop atomic.Bool
	var looking sync.WaitGroup
	looking.Go(func() {
		for !stop.Load() {
			l.missedInBlock(errors.New("no fault"))
			runtime.Gosched()
		}
	})
	for range 20 {
		if err := sendSegment(ctx, s); err != nil {
			t.Error(err)
			break
		}
	}
	stop.Store(true)
	looking.Wait()
}
