package ipc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/shm"
)

// lossRig is an engine with three companions in this process: victim, from one of
// whose lanes memory vanishes, mate, who talks to it through the engine, and honest.
type lossRig struct {
	*testing.T
	ctx                  context.Context
	e                    *Engine
	log                  *lockedBuffer
	victim, mate, honest *Client
	vl                   *link // the engine's end of the victim's lane
	calls                *Session
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newLossRig(t *testing.T) *lossRig {
	t.Helper()
	r := &lossRig{T: t, ctx: testContext(t), log: &lockedBuffer{}}
	r.e = testEngine(t, Options{Log: slog.New(slog.NewTextHandler(r.log, nil))})
	r.e.Handle("echo", echo)
	r.e.Handle("digest", digest)
	r.e.Handle("drain", drain)
	r.mate, r.honest = testClient(t, r.e, "mate"), testClient(t, r.e, "honest")
	r.mate.Handle("drain", drain)
	r.mate.Handle("echo", echo)
	var err error
	if r.calls, err = r.honest.Open(r.ctx, "controller/echo", nil); err != nil {
		t.Fatal(err)
	}
	r.enlist()
	return r
}

// enlist registers the victim.
func (r *lossRig) enlist() {
	r.Helper()
	r.victim = testClient(r, r.e, "victim", Sizes(1<<20, 1<<20))
	r.victim.Handle("drain", drain)
	r.victim.Handle("echo", echo)
	r.vl = r.e.member("victim").link
}

// drain takes what comes.
func drain(ctx context.Context, s *Session) {
	for {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		m.Release()
	}
}

// lose has memory of l vanish, unless l is gone.
func (r *lossRig) lose(l *link, what func(*link) [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	for _, b := range what(l) {
		vanish(r, b)
	}
}

func theLane(l *link) [][]byte { return [][]byte{l.lane.Bytes()} }

func ownHalf(l *link) (all [][]byte) {
	for _, e := range l.mem.extents {
		all = append(all, e.seg.Bytes())
	}
	return all
}

func otherHalf(l *link) (all [][]byte) {
	for _, f := range l.theirs {
		if !f.forgotten {
			all = append(all, f.seg.Bytes())
		}
	}
	return all
}

func (r *lossRig) open(c *Client, address string) *Session {
	r.Helper()
	s, err := c.Open(r.ctx, address, nil)
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// wantFault fails unless err is the end of a link by a fault.
func (r *lossRig) wantFault(err error) {
	r.Helper()
	if !errors.Is(err, ErrFault) || !errors.Is(err, ErrPeer) {
		r.Errorf("%v instead of a fault", err)
	}
}

// busy sends messages of n bytes until that fails, and waits until some have arrived.
func (r *lossRig) busy(s *Session, n int) (failed chan error) {
	failed = make(chan error, 1)
	sent := make(chan struct{}, 1)
	go func() {
		for {
			if err := s.SendBytes(r.ctx, make([]byte, n)); err != nil {
				failed <- err
				return
			}
			select {
			case sent <- struct{}{}:
			default:
			}
		}
	}()
	for range 3 {
		<-sent
	}
	return failed
}

// losses are the places where memory can vanish under somebody.
var losses = []struct {
	name   string
	lane   bool
	engine bool // it is the engine that meets it, and drops the victim
	lose   func(*lossRig)
}{
	{"the lane, under its leader in the engine", true, true, func(r *lossRig) {
		failed := make(chan error, 1)
		s := r.open(r.victim, "controller/echo")
		called := make(chan struct{})
		go func() {
			for n := 0; ; n++ {
				if err := callOnce(r.ctx, s, n); err != nil {
					failed <- err
					return
				}
				if n == 20 {
					close(called)
				}
			}
		}()
		<-called
		r.lose(r.vl, theLane)
		if err := <-failed; !errors.Is(err, ErrPeer) && !errors.Is(err, ErrRefused) {
			r.Errorf("the victim's calls end with %v", err)
		}
	}},
	{"the lane, while the engine sleeps", true, true, func(r *lossRig) {
		waitFor(r, func() bool { return r.victim.link.tx.wake.Load() == doorbell })
		r.lose(r.vl, theLane)
		_ = r.victim.link.conn.write(frameDoorbell, nil)
	}},
	{"the lane, when the engine looks at it for the last time", true, true, func(r *lossRig) {
		waitFor(r, func() bool { return r.victim.link.tx.wake.Load() == doorbell })
		r.lose(r.vl, theLane)
		_ = r.victim.link.conn.close()
	}},
	{"the lane, while the engine sends", true, true, func(r *lossRig) {
		s, err := r.e.Open(r.ctx, "victim/drain", nil)
		if err != nil {
			r.Fatal(err)
		}
		failed := r.busy(s, 100)
		r.lose(r.vl, theLane)
		r.wantFault(<-failed)
	}},
	{"the lane, while a companion sends", true, false, func(r *lossRig) {
		failed := r.busy(r.open(r.victim, "controller/drain"), 5000)
		r.lose(r.victim.link, theLane)
		r.wantFault(<-failed)
		r.wantFault(r.victim.Err())
	}},
	{"the lane, while a companion waits", true, false, func(r *lossRig) {
		failed := make(chan error, 1)
		s := r.open(r.victim, "controller/echo")
		go func() {
			_, err := s.Recv(r.ctx)
			failed <- err
		}()
		waitFor(r, func() bool { return r.victim.link.waiters.Load() > 0 })
		r.lose(r.victim.link, theLane)
		r.victim.link.answer() // a doorbell
		<-failed
		r.wantFault(r.victim.Err())
	}},
	{"a payload, while it is relayed from the victim", false, true, func(r *lossRig) {
		failed := r.busy(r.open(r.victim, "mate/drain"), 50_000)
		r.lose(r.vl, otherHalf)
		<-failed
	}},
	{"a payload, while it is relayed to the victim", false, true, func(r *lossRig) {
		failed := r.busy(r.open(r.mate, "victim/drain"), 50_000)
		r.lose(r.vl, ownHalf)
		if err := <-failed; !errors.Is(err, ErrPeer) {
			r.Errorf("the mate's messages end with %v", err)
		}
	}},
	{"a payload that a handler reads", false, true, func(r *lossRig) {
		ended := make(chan bool)
		r.e.Handle("reader", func(ctx context.Context, s *Session) {
			survived := false
			defer func() { ended <- survived }()
			m, err := s.Recv(ctx)
			if err != nil {
				r.Error(err)
				return
			}
			defer m.Release()
			r.lose(r.vl, otherHalf)
			survived = bytes.Count(m.Bytes(), []byte{1}) >= 0
		})
		if err := r.open(r.victim, "controller/reader").SendBytes(r.ctx, make([]byte, 50_000)); err != nil {
			r.Error(err)
		}
		if <-ended {
			r.Error("the handler went on")
		}
	}},
	{"a payload whose handler gives it back after the end of the link", false, true, func(r *lossRig) {
		ended := make(chan struct{})
		r.e.Handle("late", func(ctx context.Context, s *Session) {
			defer close(ended)
			m, err := s.Recv(ctx)
			if err != nil {
				r.Error(err)
				return
			}
			defer m.Release()
			r.lose(r.vl, otherHalf)
			r.vl.breach(r.vl.vanished("the test", 0))
			waitFor(r, func() bool { return len(r.e.Stats().Companions) == 2 })
			_ = bytes.Count(m.Bytes(), []byte{1}) // its release unmaps it
			r.Error("the handler went on")
		})
		if err := r.open(r.victim, "controller/late").SendBytes(r.ctx, make([]byte, 50_000)); err != nil {
			r.Error(err)
		}
		<-ended
	}},
	{"a payload that a handler writes", false, true, func(r *lossRig) {
		ended := make(chan struct{})
		r.e.Handle("writer", func(ctx context.Context, s *Session) {
			defer close(ended)
			p, err := s.Alloc(ctx, 50_000)
			if err != nil {
				r.Error(err)
				return
			}
			defer p.Release()
			r.lose(r.vl, ownHalf)
			clear(p.Bytes())
			r.Error("the handler went on")
		})
		_, _ = r.victim.Open(r.ctx, "controller/writer", nil) // it may be gone before that is answered
		<-ended
	}},
	{"a stream that the engine reads", false, true, func(r *lossRig) {
		read := make(chan error)
		r.e.Handle("stream", func(ctx context.Context, s *Session) {
			in := s.Reader(ctx)
			_, _ = in.Read(make([]byte, 1))
			r.lose(r.vl, otherHalf)
			_, err := io.Copy(io.Discard, struct{ io.Reader }{in})
			read <- err
		})
		go func() { _, _ = r.victim.Carry(r.ctx, "stream", nil, bytes.NewReader(make([]byte, 5<<20))) }()
		r.wantFault(<-read)
	}},
	{"the header of an opening", false, true, func(r *lossRig) {
		r.lose(r.vl, otherHalf)
		if s, err := r.victim.Open(r.ctx, "controller/echo", make([]byte, 10_000)); err == nil {
			_ = s.Close()
			r.Error("opened")
		}
	}},
	{"a message that a companion copies", false, false, func(r *lossRig) {
		s := r.open(r.victim, "controller/echo")
		if err := s.SendBytes(r.ctx, make([]byte, 50_000)); err != nil {
			r.Fatal(err)
		}
		m, err := s.Recv(r.ctx)
		if err != nil {
			r.Fatal(err)
		}
		defer m.Release()
		r.lose(r.victim.link, otherHalf)
		if n := m.CopyTo(make([]byte, 50_000)); n != 0 {
			r.Errorf("copied %d bytes", n)
		}
		r.wantFault(r.victim.Err())
		r.wantFault(s.Guard(func() { _ = bytes.Count(m.Bytes(), []byte{1}) }))
	}},
	{"a parcel that a companion fills", false, false, func(r *lossRig) {
		s := r.open(r.victim, "controller/drain")
		p, err := s.Alloc(r.ctx, 50_000)
		if err != nil {
			r.Fatal(err)
		}
		r.lose(r.victim.link, ownHalf)
		if n := p.Fill(make([]byte, 50_000)); n != 0 {
			r.Errorf("filled %d bytes", n)
		}
		r.wantFault(s.Send(r.ctx, p))
	}},
	{"a stream that a companion writes", false, false, func(r *lossRig) {
		w := r.open(r.victim, "controller/drain").Writer(r.ctx)
		if _, err := w.Write(make([]byte, 10)); err != nil {
			r.Fatal(err)
		}
		r.lose(r.victim.link, ownHalf)
		_, err := w.Write(make([]byte, 10_000))
		r.wantFault(err)
		r.wantFault(w.Close())
	}},
	{"a stream that a companion copies from a reader", false, false, func(r *lossRig) {
		w := r.open(r.victim, "controller/drain").Writer(r.ctx)
		_, err := w.ReadFrom(&losingReader{r})
		r.wantFault(err)
	}},
	{"the directory", false, false, func(r *lossRig) {
		r.lose(r.victim.link, func(*link) [][]byte { return [][]byte{r.victim.roster.seg.Bytes()} })
		if all := r.victim.Companions(); len(all) != 0 {
			r.Errorf("%d companions", len(all))
		}
		<-r.victim.Done()
		r.wantFault(r.victim.Err())
	}},
	{"the directory, under who awaits somebody", false, false, func(r *lossRig) {
		c := r.victim
		c.roster.mu.Lock()
		lost := c.roster.lost
		c.roster.lost = func(err error) { // the client ends later than the watch does
			time.Sleep(20 * time.Millisecond)
			lost(err)
		}
		c.roster.mu.Unlock()
		r.lose(c.link, func(*link) [][]byte { return [][]byte{c.roster.seg.Bytes()} })
		_, err := c.Await(r.ctx, "nobody")
		r.wantFault(err)
	}},
}

// losingReader fills buffers that vanish.
type losingReader struct{ r *lossRig }

func (l *losingReader) Read(b []byte) (int, error) {
	l.r.lose(l.r.victim.link, ownHalf)
	clear(b)
	return len(b), nil
}

// TestVanishedMemoryCostsALinkAndNothingElse: see losses.
func TestVanishedMemoryCostsALinkAndNothingElse(t *testing.T) {
	for _, loss := range losses {
		if loss.lane && underRace { // make test runs these without it
			continue
		}
		t.Run(loss.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			t.Run("loss", func(t *testing.T) {
				r := newLossRig(t)
				loss.lose(r)
				r.checkRest(loss.engine)
			})
			settle(t, before)
		})
	}
}

// settle waits until there are as many goroutines as there were.
func settle(t testing.TB, goroutines int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > goroutines; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines instead of %d:\n%s", runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// checkRest looks at those who stay: they go on, and nothing of the victim is left.
func (r *lossRig) checkRest(engine bool) {
	r.Helper()
	<-r.victim.Done()
	waitFor(r, func() bool { return len(r.e.Stats().Companions) == 2 })
	st := r.e.Stats()
	if engine {
		last := st.Dropped[len(st.Dropped)-1]
		if st.Drops["fault"] != 1 || len(st.Drops) != 1 || last.Kind != "fault" || last.Name != "victim" || !strings.Contains(last.Reason, "fault at byte") {
			r.Errorf("drops %v, the last: %+v", st.Drops, last)
		}
	} else if len(st.Drops) != 0 {
		r.Errorf("drops %v", st.Drops)
	}
	waitFor(r, func() bool { // the last that is done
		return strings.Contains(r.log.String(), "its shared memory has vanished: fault at byte")
	})
	for _, l := range []*link{r.vl, r.victim.link} {
		waitFor(r, func() bool { return freeLock(&l.txMu) && atRest(l) })
	}
	if err := callOnce(r.ctx, r.calls, 7); err != nil {
		r.Error("the honest companion:", err)
	}
	if err := callOnce(r.ctx, r.open(r.honest, "mate/echo"), 8); err != nil {
		r.Error("the mate:", err)
	}
	waitFor(r, func() bool { // nothing that the victim was lent is kept
		var used int64
		for _, c := range r.e.Stats().Companions {
			used += c.BlockBytes
		}
		return r.e.Stats().Used == used
	})
	r.enlist() // under the same name
	if err := callOnce(r.ctx, r.open(r.victim, "controller/echo"), 9); err != nil {
		r.Error("the next victim:", err)
	}
}

// atRest: nobody holds mu, nor left it in the middle of a batch.
func atRest(l *link) bool {
	if !l.mu.TryLock() {
		return false
	}
	defer l.mu.Unlock()
	return !l.dispatching
}

func freeLock(mu *sync.Mutex) bool {
	ok := mu.TryLock()
	if ok {
		mu.Unlock()
	}
	return ok
}

// TestOtherPanicsGoOn: recovery is for faults in shared memory alone.
func TestOtherPanicsGoOn(t *testing.T) {
	engine, _ := heapPair(t, 8, testHost{}, testHost{echo})
	s, err := engine.openSession(testContext(t), opening{address: "c/echo"}, "c", "echo")
	if err != nil {
		t.Fatal(err)
	}
	own := foreignMap(t)
	vanish(t, own)
	readOwn := func() { _ = bytes.Count(own, []byte{1}) }
	bug := func() { panic("a bug") }
	for name, run := range map[string]func(){
		"guard":     func() { _ = s.Guard(bug) },
		"guard own": func() { _ = s.Guard(readOwn) },
		"carry own": func() { _, _ = carry(nil, own, engine, make([]byte, len(own)), 0) },
		"directory": func() { _ = guarded(make([]byte, 8), "it", func() error { bug(); return nil }) },
		"reader":    func() { _, _ = readInto(engine, make([]byte, 8), panicReader{}) },
		"send": func() {
			var err error
			engine.txMu.Lock()
			defer engine.txDone(false, &err)
			bug()
		},
	} {
		if v := recovered(run); v == nil {
			t.Errorf("%s: nothing came through", name)
		}
	}
	if !freeLock(&engine.txMu) {
		t.Error("a panic left the sender's lock behind")
	}
	if err := engine.cause(); err != nil {
		t.Errorf("the link ended: %v", err)
	}
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("a bug") }

// recovered is what f panics with. A fault is a panic meanwhile.
func recovered(f func()) (v any) {
	defer func(before bool) {
		v = recover()
		debug.SetPanicOnFault(before)
	}(debug.SetPanicOnFault(true))
	f()
	return nil
}

// foreignMap is shared memory that no link knows of.
func foreignMap(t testing.TB) []byte {
	t.Helper()
	seg, err := shm.NewSegment(64 << 10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = seg.Close() })
	return seg.Bytes()
}
