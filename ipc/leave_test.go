package ipc

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
)

// TestCloseAmongOpens ends engines while companions open sessions of their services.
func TestCloseAmongOpens(t *testing.T) {
	for range 20 {
		e, err := NewEngine(testSession(t), Options{})
		if err != nil {
			t.Fatal(err)
		}
		e.Handle("sink", func(ctx context.Context, s *Session) { <-ctx.Done() })
		var opening sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			c := testClient(t, e, name)
			opening.Go(func() {
				for {
					s, err := c.Open(t.Context(), "controller/sink", nil)
					if err != nil {
						return // the engine has ended
					}
					_ = s.Close()
				}
			})
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		opening.Wait()
	}
}

// TestWaitersThatGiveUpAreForgotten dials while there is no room, and gives up.
func TestWaitersThatGiveUpAreForgotten(t *testing.T) {
	e := testEngine(t, Options{Companions: 1})
	testClient(t, e, "first")
	for range 30 {
		ctx, cancel := context.WithCancel(testContext(t))
		ended := make(chan error, 1)
		go func() {
			c, err := Dial(ctx, e.Endpoint(), "second")
			if err == nil {
				err = c.Close()
			}
			ended <- err
		}()
		waitFor(t, func() bool { return e.strangers() == 1 })
		cancel()
		if err := <-ended; err == nil {
			t.Fatal("there was room")
		}
	}
	waitFor(t, func() bool { return e.strangers() == 0 })
}

// strangers counts who has dialled and is not registered.
func (e *Engine) strangers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.present) - len(e.members)
}

// TestLeavingWithAFullRing: who closes a session and leaves has said both, although the
// engine was so far behind that there was no room for it.
func TestLeavingWithAFullRing(t *testing.T) {
	e := testEngine(t, Options{})
	begin, end := make(chan struct{}), make(chan error, 1)
	e.Handle("sink", func(ctx context.Context, s *Session) {
		<-begin
		for {
			m, err := s.message(ctx)
			if err != nil {
				end <- err
				return
			}
			m.Release()
		}
	})
	c := testClient(t, e, "a")
	s, err := c.Open(testContext(t), "controller/sink", nil)
	if err != nil {
		t.Fatal(err)
	}
	engine := e.member("a").link
	engine.mu.Lock() // it can't read
	for range 2 * defaultSlots {
		r := newRecord(kindStarved, 0, s.id, 0)
		s.l.post(&r)
	}
	_ = s.Close()
	left := make(chan struct{})
	go func() {
		defer close(left)
		_ = c.Close()
	}()
	engine.mu.Unlock()
	<-left
	close(begin)
	if err := <-end; !errors.Is(err, io.EOF) {
		t.Fatalf("the session ended with %v", err)
	}
}

// endless has somebody call again as soon as it has refused one.
type endless struct {
	testHost
	again func()
}

func (h endless) open(*Session, opening) *closing {
	h.again()
	return &closing{closeAddress, "nobody"}
}

// TestWhoLeavesIsNotKeptByARingThatIsNeverEmpty: it has what it came for, or its context
// has ended; somebody else goes on.
func TestWhoLeavesIsNotKeptByARingThatIsNeverEmpty(t *testing.T) {
	const most = 5 * rounds * batch
	var engine *link
	var calls atomic.Uint32
	call := func() {
		n := calls.Add(1)
		if n > most {
			return
		}
		open, end := newRecord(kindOpen, 0, 2*n, 8), newRecord(kindClose, 0, 2*n, closeDone)
		open.setInline(opening{address: "c/x"}.encode())
		end.setInline(nil)
		for _, r := range []record{open, end} {
			if _, err := engine.transmit(&r); err != nil {
				t.Error(err)
			}
		}
	}
	engine, companion := joinedPair(t, 4*batch, testHost{}, endless{testHost{}, call}, func(l *link) { l.noSpin = true })
	engine.mu.Lock()
	engine.nextID = 1 << 20 // what is refused was opened by this side, and is over
	engine.mu.Unlock()
	waitFor(t, companion.takeLead)
	companion.disarm()
	call()
	companion.leaveArmed()
	if n := calls.Load(); n >= most {
		t.Errorf("it was kept until %d calls were refused", n)
	}
	waitFor(t, func() bool { return calls.Load() > most })
}
