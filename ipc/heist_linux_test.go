package ipc

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	futexRequeueOp  = 3
	futexLockPIOp   = 6
	futexUnlockPIOp = 7
	everyWaiter     = 1 << 30
)

// heists are the ways of a companion to keep the engine's leader asleep: each sees to it
// that no wake-up finds who sleeps on word, until stop is closed. They begin while nobody
// sleeps there.
var heists = map[string]func(word *atomic.Uint32, stop chan struct{}, robbed *atomic.Bool) (done func()){
	"moved once":            moveOnce,
	"moved again and again": moveAlways,
	"behind a crowd":        standBefore,
	"behind a lock":         standLocked,
}

// futex is the system call with up to two words; it answers -1 for every error.
func futex(w *atomic.Uint32, op, val, val2 uintptr, w2 *atomic.Uint32) int {
	// SAFETY: both words outlive the call.
	n, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), op, val, val2, uintptr(unsafe.Pointer(w2)), 0)
	if errno != 0 {
		return -1
	}
	return int(n)
}

// move has whoever sleeps on w sleep on to, as everybody may who has mapped w.
func move(w, to *atomic.Uint32) int { return futex(w, futexRequeueOp, 0, everyWaiter, to) }

func stopped(stop chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// moveOnce is content with one nap.
func moveOnce(word *atomic.Uint32, stop chan struct{}, robbed *atomic.Bool) func() {
	return keepMoving(word, stop, func(n int) bool {
		robbed.Store(robbed.Load() || n > 0)
		return n > 0
	})
}

// moveAlways moves it in every nap, and has the word call for one.
func moveAlways(word *atomic.Uint32, stop chan struct{}, robbed *atomic.Bool) func() {
	return keepMoving(word, stop, func(n int) bool {
		if robbed.Store(robbed.Load() || n > 0); robbed.Load() {
			word.CompareAndSwap(awake, asleep)
		}
		return false
	})
}

// keepMoving moves whoever sleeps on word, until enough says so of how many those were.
func keepMoving(word *atomic.Uint32, stop chan struct{}, enough func(n int) bool) func() {
	var wg sync.WaitGroup
	cellar := &atomic.Uint32{}
	wg.Go(func() {
		for !stopped(stop) && !enough(move(word, cellar)) {
			runtime.Gosched()
		}
	})
	return func() {
		wg.Wait()
		futex(cellar, futexWakeOp, everyWaiter, 0, nil) // where no limit has
	}
}

// queueUp has 200 threads sleep on word, and again whenever they are woken.
func queueUp(word *atomic.Uint32, stop chan struct{}) (leave func()) {
	const size = 200
	var wg sync.WaitGroup
	for range size {
		wg.Go(func() {
			for !stopped(stop) {
				if futex(word, futexWaitOp, asleep, 0, nil) < 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	for move(word, word) < size { // that counts them
		word.Store(asleep) // should its owner have looked meanwhile
		time.Sleep(time.Millisecond)
	}
	gone := make(chan struct{})
	go func() {
		wg.Wait()
		close(gone)
	}()
	return func() {
		for !stopped(gone) {
			futex(word, futexWakeOp, everyWaiter, 0, nil)
			time.Sleep(time.Millisecond)
		}
	}
}

// standBefore: each of the crowd takes one wake-up.
func standBefore(word *atomic.Uint32, stop chan struct{}, robbed *atomic.Bool) func() {
	leave := queueUp(word, stop)
	word.Store(doorbell)
	robbed.Store(true)
	return leave
}

// standLocked: while somebody waits for a lock that is made of the word, no wake-up is
// allowed there.
func standLocked(word *atomic.Uint32, stop chan struct{}, robbed *atomic.Bool) func() {
	var wg sync.WaitGroup
	var locked uint32
	held := make(chan struct{})
	wg.Go(func() {
		runtime.LockOSThread() // for good: the lock is this thread's
		for word.Store(awake); futex(word, futexLockPIOp, 0, 0, nil) < 0; word.Store(awake) {
		}
		close(held)
		<-stop
		word.Store(locked)
		futex(word, futexUnlockPIOp, 0, 0, nil)
	})
	<-held
	mine := word.Load()
	wg.Go(func() { futex(word, futexLockPIOp, 0, 0, nil) })
	for locked = mine; locked == mine; locked = word.Load() { // until it says that somebody waits
		time.Sleep(time.Millisecond)
	}
	word.Store(doorbell)
	robbed.Store(true)
	return wg.Wait
}

// ends are what must get a sleeper out, whatever was done to it.
var ends = map[string]func(e *Engine, c *Client, cancel func()){
	"its context": func(_ *Engine, _ *Client, cancel func()) { cancel() },
	"the link":    func(_ *Engine, c *Client, _ func()) { _ = c.Close() },
	"the engine":  func(e *Engine, _ *Client, _ func()) { _ = e.Close() },
}

// TestASleeperCantBeKeptFromWaking: whatever a companion does to the engine's leader,
// that comes back soon when it shall, and its thread, lane and session are free.
func TestASleeperCantBeKeptFromWaking(t *testing.T) {
	for way, heist := range heists {
		for what, end := range ends {
			t.Run(way+", the end of "+what, func(t *testing.T) {
				goroutines := runtime.NumGoroutine()
				t.Run("", func(t *testing.T) { endDuring(t, heist, end) })
				settle(t, goroutines)
			})
		}
	}
}

func endDuring(t *testing.T, heist func(*atomic.Uint32, chan struct{}, *atomic.Bool) func(), end func(*Engine, *Client, func())) {
	e := testEngine(t, Options{})
	before := resources(t)
	c := testClient(t, e, "robber", NoSpin())
	served, ctx, cancel := serveUntil(t, e)
	l := e.member("robber").link
	word, unmap := alsoMapped(t, c.link)
	waitFor(t, func() bool { return idle(l) })
	stop := make(chan struct{})
	var robbed atomic.Bool
	leave := heist(word, stop, &robbed)
	s, err := c.Open(ctx, "controller/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	n := robbedNap(t, s, l, &robbed)
	start := time.Now()
	ended := make(chan struct{})
	go func() {
		end(e, c, cancel)
		_ = c.Close()
		close(ended)
	}()
	for _, done := range []chan struct{}{served, ended} {
		select {
		case <-done:
		case <-time.After(time.Second - time.Since(start)):
			t.Errorf("not after %v; the nap goes on: %v", time.Since(start), l.naps.Load() == n)
		}
	}
	close(stop)
	leave()
	<-served
	<-ended
	waitFor(t, func() bool { return l.users.Load() == 0 })
	unmap()
	waitFor(t, func() bool { return !resources(t).exceeds(before) })
}

// idle says that l has been left alone for a while.
func idle(l *link) bool {
	arms := l.arms.Load()
	time.Sleep(20 * time.Millisecond)
	return l.leader.Load() == leaderless && l.watched.Load() == 0 && l.rx.wake.Load() == doorbell && l.arms.Load() == arms
}

// serveUntil has e serve a session that takes what comes; served is closed when it has ended.
func serveUntil(t *testing.T, e *Engine) (served chan struct{}, ctx context.Context, cancel func()) {
	served = make(chan struct{})
	ctx, cancel = context.WithCancel(testContext(t))
	e.Handle("x", func(_ context.Context, s *Session) {
		drain(ctx, s)
		close(served)
	})
	return served, ctx, cancel
}

// robbedNap sends messages on s until the other side naps after one, robbed; it answers
// the number of the nap.
func robbedNap(t *testing.T, s *Session, l *link, robbed *atomic.Bool) (n uint32) {
	t.Helper()
	waitFor(t, func() bool {
		if n = l.naps.Load(); n&1 == 0 {
			_ = s.SendBytes(s.l.ctx, []byte{1})
			return false
		}
		time.Sleep(2 * time.Millisecond) // time to fall asleep
		return robbed.Load() && l.naps.Load() == n
	})
	return n
}

// alsoMapped maps the lane of l once more, for who goes on after l has unmapped it; it
// answers the word that the other side sleeps on.
func alsoMapped(t *testing.T, l *link) (word *atomic.Uint32, unmap func()) {
	t.Helper()
	lane := l.lane.Bytes()
	// SAFETY: lane is a shared map of whole pages; with an old size of 0 it stays, and is mapped a second time.
	at, err := unix.MremapPtr(unsafe.Pointer(unsafe.SliceData(lane)), 0, nil, uintptr(len(lane)), unix.MREMAP_MAYMOVE)
	if err != nil {
		t.Fatal(err)
	}
	// SAFETY: that many bytes were mapped there.
	again := unsafe.Slice((*byte)(at), len(lane))
	return wordAt(again, offUpWake), func() {
		// SAFETY: nobody uses the word any more.
		if err := unix.MunmapPtr(at, uintptr(len(lane))); err != nil {
			t.Error(err)
		}
	}
}

// TestAMovedSleeperGivesTheCacheBack: the engine has a service of its own, of which every
// companion can have sessions, and each time it comes again.
func TestAMovedSleeperGivesTheCacheBack(t *testing.T) {
	e := testEngine(t, Options{})
	cellar := &atomic.Uint32{}
	defer futex(cellar, futexWakeOp, everyWaiter, 0, nil)
	for moved := 0; moved < 5; {
		c := testClient(t, e, "robber", NoSpin())
		if _, err := c.Open(testContext(t), "controller/.cache", []byte(`{"op":"retain","name":"x","bytes":1000000}`)); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Millisecond); time.Now().Before(end); {
			if move(c.link.tx.wake, cellar) > 0 {
				moved++
				break
			}
		}
		_ = c.Close()
		waitFor(t, func() bool { return e.member("robber") == nil })
	}
	time.Sleep(10 * sleepLimit)
	if used := e.Stats().CacheUsed; used > 0 {
		t.Errorf("%d bytes of the cache are kept, though nobody is there any more", used)
	}
}
