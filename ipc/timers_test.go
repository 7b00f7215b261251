package ipc

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/shm"
)

// Here the clock stands still while anybody works and jumps when all wait: each
// timer is held to its exact moment, and hours cost nothing.

// coldBell never sleeps in the kernel, which this clock would not see, and is too
// slow for a spin to seem worth it.
type coldBell struct{}

func (coldBell) sleep() bool  { time.Sleep(hitTime); return false }
func (coldBell) wakeSelf()    {}
func (coldBell) wakePeer()    {}
func (coldBell) close() error { return nil }

func (l *link) cool() {
	_ = l.bell.close()
	l.bell = coldBell{}
}

// listless is an engine whom nobody can dial: its members are made by hand.
func listless(t *testing.T, o Options) *Engine {
	t.Helper()
	e := &Engine{
		opts: o.withDefaults(), log: slog.New(slog.DiscardHandler), changed: make(chan struct{}),
		members: map[string]*member{}, present: map[*member]bool{}, handlers: map[string]Handler{},
	}
	e.watchers.seen = map[*member]uint32{}
	var err error
	if e.directory, err = newDirectory(1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.directory.close() })
	return e
}

// stranger is a member whose companion is the other end of a stream.
func (e *Engine) stranger() (*member, *memoryConn) {
	engine, companion := memoryConns()
	m := &member{e: e, conn: engine, peer: peer{pid: 1, release: func() error { return nil }}, since: time.Now(),
		unmapped: map[uint32]*shm.Segment{}, leaving: map[uint32]int64{}}
	e.greet(m)
	return m, companion
}

// after fails unless the present moment is d after start.
func after(t *testing.T, what string, start time.Time, d time.Duration) {
	t.Helper()
	if took := time.Since(start); took != d {
		t.Errorf("%s after %v, want %v", what, took, d)
	}
}

func TestWhoSaysNothingIsHungUpOn(t *testing.T) {
	for name, say := range map[string]func(c *memoryConn) error{
		"nothing": func(*memoryConn) error { return nil },
		"hello only": func(c *memoryConn) error {
			return c.write(frameHello, hello{version: Version, name: "slow"}.encode())
		},
		"hello, one of three maps": func(c *memoryConn) error {
			return errors.Join(c.write(frameHello, hello{version: Version, name: "slow"}.encode()), c.write(frameMapped, le.AppendUint32(nil, 0)))
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := listless(t, Options{Budget: 64 << 20})
			m, c := e.stranger()
			start := time.Now()
			if err := say(c); err != nil {
				t.Fatal(err)
			}
			m.run()
			after(t, name+": hung up", start, helloTimeout)
			e.wg.Wait()
			if e.used != 0 || len(e.members) != 0 || len(e.present) != 0 {
				t.Errorf("%s: %d bytes, %d members are left", name, e.used, len(e.members))
			}
		})
	}
}

func TestATakenNameIsWaitedForAMoment(t *testing.T) {
	for _, dies := range []time.Duration{0, time.Second} { // 0: never
		synctest.Test(t, func(t *testing.T) {
			e := listless(t, Options{Budget: 64 << 20})
			holder, _ := e.stranger()
			if err := e.enter(holder, "outlook", 1); err != nil {
				t.Fatal(err)
			}
			if dies > 0 {
				time.AfterFunc(dies, func() { e.leave(holder, ErrPeer) })
			}
			m, c := e.stranger()
			start := time.Now()
			err := e.enter(m, "outlook", 1)
			if dies > 0 {
				after(t, "let in", start, dies)
				if err != nil || e.members["outlook"] != m {
					t.Errorf("the name is free: %v", err)
				}
			} else {
				after(t, "refused", start, nameTimeout)
				if !errors.Is(err, ErrRefused) {
					t.Errorf("the name is taken: %v", err)
				}
			}
			_ = c.close()
			e.wg.Wait()
		})
	}
}

func TestOneThatWaitsForRoomWaitsForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := listless(t, Options{Companions: 1, Budget: 64 << 20})
		first, _ := e.stranger()
		if err := e.enter(first, "first", 1); err != nil {
			t.Fatal(err)
		}
		const days = 72 * time.Hour
		time.AfterFunc(days, func() { e.leave(first, ErrPeer) })
		m, c := e.stranger()
		start := time.Now()
		if err := e.enter(m, "second", 1); err != nil {
			t.Fatal(err)
		}
		after(t, "let in", start, days)
		if f, err := c.read(); err != nil || f.kind != frameWaiting {
			t.Errorf("it was told %v, %v", f.kind, err)
		}
		_ = c.close()
		e.wg.Wait()
	})
}

func TestMemoryIsWaitedForAMoment(t *testing.T) {
	for _, freed := range []time.Duration{0, 300 * time.Millisecond} { // 0: never
		synctest.Test(t, func(t *testing.T) {
			e := listless(t, Options{Budget: 1 << 20, Share: 1 << 20})
			m, _ := e.stranger()
			m.link = newFuzzEnd(t, false).link(t)
			if err := e.enter(m, "a", 1<<20); err != nil {
				t.Fatal(err)
			}
			if freed > 0 {
				time.AfterFunc(freed, func() { e.refund(m, 4096) })
			}
			start, want := time.Now(), trimTime
			if freed > 0 {
				want = freed
			}
			if got := e.chargeSoon(m, 4096); got != (freed > 0) {
				t.Errorf("charged: %v", got)
			}
			after(t, "decided", start, want)
			m.link.fail(ErrClosed)
		})
	}
}

// sayings records the frames that a link writes.
type sayings struct {
	nowhere
	kinds chan uint8
}

func (s sayings) write(kind uint8, _ []byte, _ ...grant) error { s.kinds <- kind; return nil }

func TestAnIdleExtentGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := newFuzzEnd(t, true)
		l := end.link(t)
		said := make(chan uint8, 16)
		l.conn = sayings{kinds: said}
		l.grown(5, shm.HeapSegment(64<<10)) // empty from the beginning
		time.Sleep(idleTime / 2)
		l.mu.Lock()
		_, at, ok := l.mem.take(40 << 10)
		l.mu.Unlock()
		if !ok {
			t.Fatal("no room")
		}
		time.Sleep(10 * idleTime) // in use: it stays
		l.mu.Lock()
		e := l.mem.find(5)
		if e == nil {
			t.Fatal("an extent in use was given back")
		}
		e.held--
		e.free(at)
		l.emptied(e)
		l.mu.Unlock()
		start := time.Now()
		if kind := <-said; kind != frameForget {
			t.Fatalf("frame %d", kind)
		}
		if took := time.Since(start); took < idleTime || took > 2*idleTime {
			t.Errorf("given back after %v", took)
		}
		if len(l.mem.extents) != 1 || end.parted != 1 {
			t.Errorf("%d extents, %d parted", len(l.mem.extents), end.parted)
		}
		time.Sleep(time.Hour) // the first one stays, and no timer goes on
		if len(said) > 0 || l.shrinking {
			t.Error("it goes on shrinking")
		}
		end.close(l)
	})
}

// extentsOf and keepsOn look at a link whose timer may be at work.
func extentsOf(l *link) []*extent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mem.extents)
}

func keepsOn(l *link) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shrinking
}

// pressedLink is one whose half is one empty extent of 256 KiB, told that memory is short.
func pressedLink(t *testing.T) (end *fuzzEnd, l *link, said chan uint8) {
	end = newFuzzEnd(t, true)
	l = end.link(t)
	said = make(chan uint8, 16)
	l.conn = sayings{kinds: said}
	l.largest = floorSize
	l.cool()
	l.mem.remove(l.mem.extents[0])
	l.grown(5, shm.HeapSegment(256<<10))
	time.Sleep(10 * idleTime)
	if len(said) > 0 || keepsOn(l) {
		t.Fatal("the first extent does not stay while memory is there")
	}
	l.trim()
	return end, l, said
}

func TestTheFirstExtentGoesWhenMemoryIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, l, said := pressedLink(t)
		time.Sleep(pressedTime / 2)
		p, err := l.tryAlloc(40 << 10)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(said) > 0 || keepsOn(l) {
			t.Fatal("an extent in use was given back, or a timer waits for its end")
		}
		p.Release()
		start := time.Now()
		l.trim() // again and again: the clock runs on
		time.Sleep(pressedTime / 2)
		l.trim()
		if kind := <-said; kind != frameForget {
			t.Fatalf("frame %d", kind)
		}
		synctest.Wait()
		if took := time.Since(start); took < pressedTime || took >= 2*pressedTime {
			t.Errorf("given back after %v", took)
		}
		if end.parted != 1 || end.swapped != 1 || len(extentsOf(l)) != 0 {
			t.Errorf("%d parted, %d for a floor, %d are left", end.parted, end.swapped, len(extentsOf(l)))
		}
		time.AfterFunc(time.Second, func() { l.grown(6, shm.HeapSegment(floorSize)) })
		if p, err = l.alloc(context.Background(), floorSize); err != nil || end.granted != 0 {
			t.Fatalf("who wants memory meanwhile: %v, after %d wishes of its own", err, end.granted)
		}
		p.Release()
		l.grown(7, shm.HeapSegment(64<<10))
		l.grown(8, shm.HeapSegment(64<<10))
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(extentsOf(l)) != 2 || keepsOn(l) {
			t.Errorf("%d extents instead of the floor and one that is kept warm", len(extentsOf(l)))
		}
		l.trim()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(extentsOf(l)) != 1 || extentsOf(l)[0].number != 6 || end.swapped != 1 || keepsOn(l) {
			t.Errorf("%d extents instead of the floor; %d were swapped", len(extentsOf(l)), end.swapped)
		}
		end.close(l)
	})
}

// TestNoFloor: the engine can't even make that. Who waits is told, who comes later asks.
func TestNoFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, l, said := pressedLink(t)
		<-said
		time.AfterFunc(time.Second, l.denied)
		if _, err := l.alloc(context.Background(), 1000); !errors.Is(err, ErrNoMemory) {
			t.Fatal(err)
		}
		if _, err := l.tryAlloc(1000); !errors.Is(err, ErrNoMemory) || end.granted != 1 {
			t.Fatalf("%v, %d wishes", err, end.granted)
		}
		end.close(l)
	})
}

func TestDeadlinesEndEveryWait(t *testing.T) {
	silent := testHost{func(ctx context.Context, _ *Session) { <-ctx.Done() }}
	synctest.Test(t, func(t *testing.T) {
		_, companion := joinedPair(t, 8, silent, silent, (*link).cool)
		ctx := context.Background()
		s, err := companion.openSession(ctx, opening{address: "controller/x"}, Controller, "x")
		if err != nil {
			t.Fatal(err)
		}
		const day = 24 * time.Hour
		wait := func(what string, f func(ctx context.Context) error) {
			t.Helper()
			short, cancel := context.WithTimeout(ctx, day)
			defer cancel()
			start := time.Now()
			if err := f(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
			if took := time.Since(start); took < day || took > day+time.Millisecond {
				t.Errorf("%s ended after %v", what, took)
			}
		}
		wait("Recv", func(ctx context.Context) error { _, err := s.Recv(ctx); return err })
		p, err := companion.alloc(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		wait("Call", func(ctx context.Context) error { _, err := s.Call(ctx, p); return err })
		for range 7 {
			if err := s.SendBytes(ctx, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		wait("Send", func(ctx context.Context) error { return s.SendBytes(ctx, []byte("x")) }) // the window is full
		wait("Alloc", func(ctx context.Context) error {
			for {
				if _, err := companion.alloc(ctx, 60<<10); err != nil { // there is no more than 256 KiB
					return err
				}
			}
		})
		wait("Accept", func(ctx context.Context) error {
			return companion.await(ctx, (*offerWanted)(companion), companion.offer)
		})
	})
}

func TestAnOpeningIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := listless(t, Options{Budget: 64 << 20})
		from, _ := e.stranger()
		to, _ := e.stranger()
		for name, m := range map[string]*member{"from": from, "to": to} {
			if err := e.enter(m, name, 1); err != nil {
				t.Fatal(err)
			}
			m.link = newFuzzEnd(t, false).link(t)
			m.link.cool()
			m.ready.Store(true)
		}
		from.link.mu.Lock()
		s := from.link.newSession(1)
		s.service, s.joining = "x", true
		from.link.mu.Unlock()
		start := time.Now()
		err := from.bridge(s, opening{address: "to/x"}, "to")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the answer never came: %v", err)
		}
		if why := notConnected(err); why.code != closeRefused || !strings.Contains(why.reason, "not answered for 30s") {
			t.Errorf("the opener hears %+v", why)
		}
		if took := time.Since(start); took < openTimeout || took > openTimeout+time.Millisecond {
			t.Errorf("given up after %v", took)
		}
		from.link.fail(ErrClosed)
		to.link.fail(ErrClosed)
	})
}
