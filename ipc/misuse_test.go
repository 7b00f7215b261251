package ipc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// sunk has what arrives at a session of a new companion answered by its length.
func sunk(t *testing.T) (*Session, <-chan int) {
	t.Helper()
	e, got := testEngine(t, Options{}), make(chan int, 16)
	e.Handle("sink", func(ctx context.Context, s *Session) {
		for {
			m, err := s.Recv(ctx)
			if err != nil {
				return
			}
			got <- len(m.Bytes())
			m.Release()
		}
	})
	s, err := testClient(t, e, "a").Open(testContext(t), "controller/sink", nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, got
}

func parcel(t *testing.T, s *Session, n int) *Parcel {
	t.Helper()
	p, err := s.Alloc(testContext(t), n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestAParcelIsSentOnce: the second time it is an error, sends nothing, and costs nobody
// else their parcel.
func TestAParcelIsSentOnce(t *testing.T) {
	for name, spend := range map[string]func(*Session, *Parcel) error{
		"sent":     func(s *Session, p *Parcel) error { return s.Send(context.Background(), p) },
		"released": func(_ *Session, p *Parcel) error { p.Release(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s, got := sunk(t)
			ctx := testContext(t)
			for _, n := range []int{0, 5, 5000} {
				p := parcel(t, s, n)
				if err := spend(s, p); err != nil {
					t.Fatal(err)
				}
				if err := s.Send(ctx, p); !errors.Is(err, ErrMisuse) || !strings.Contains(err.Error(), "sent or released before") {
					t.Errorf("%d bytes: sent again: %v", n, err)
				}
				if _, err := s.Call(ctx, p); !errors.Is(err, ErrMisuse) {
					t.Errorf("%d bytes: called again: %v", n, err)
				}
				one, two := parcel(t, s, 7), parcel(t, s, 7000)
				if one == two {
					t.Fatal("two allocations are one")
				}
				two.Release()
				if err := s.Send(ctx, one); err != nil {
					t.Fatal(err)
				}
				if name == "sent" && <-got != n {
					t.Error("something else arrived")
				}
				if n := <-got; n != 7 {
					t.Errorf("%d bytes arrived that nobody sent", n)
				}
			}
		})
	}
}

// TestShortenedParcelsKeepOff: what was given back is somebody else's.
func TestShortenedParcelsKeepOff(t *testing.T) {
	s, _ := sunk(t)
	for _, n := range []int{100, 40960} {
		p := parcel(t, s, n)
		p.Shorten(n / 10)
		if c := cap(p.Bytes()); c != n/10 {
			t.Errorf("%d bytes, of which %d are kept, have room for %d", n, n/10, c)
		}
		for _, more := range []int{n, n/10 + 1, -1} {
			if v := recovered(func() { p.Shorten(more) }); v == nil {
				t.Errorf("Shorten(%d) of %d bytes", more, n/10)
			}
		}
		p.Shorten(n / 10) // nothing holds a lock
		p.Release()
	}
}

// TestReplyAnswersItsRequestOnly: anything else would be lost, or answer somebody else.
func TestReplyAnswersItsRequestOnly(t *testing.T) {
	e := testEngine(t, Options{})
	got, sessions := make(chan *Message), make(chan *Session)
	hold := func(ctx context.Context, s *Session) {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		sessions <- s
		got <- m
		<-ctx.Done()
	}
	e.Handle("hold", hold)
	c, ctx := testClient(t, e, "a"), testContext(t)
	open := func(send func(*Session)) (*Session, *Message) {
		s, err := c.Open(ctx, "controller/hold", nil)
		if err != nil {
			t.Fatal(err)
		}
		send(s)
		return <-sessions, <-got
	}
	replies := make(chan error, 2)
	call := func(s *Session) {
		p := parcel(t, s, 1)
		go func() {
			m, err := s.Call(ctx, p)
			if err == nil {
				m.Release()
			}
			replies <- err
		}()
	}
	s0, plain := open(func(s *Session) { _ = s.SendBytes(ctx, []byte("no request")) })
	s1, first := open(call)
	s2, second := open(call)
	for _, wrong := range []struct {
		s *Session
		m *Message
	}{{s0, plain}, {s0, first}, {s1, second}, {s2, first}} {
		if err := wrong.s.Reply(ctx, wrong.m, parcel(t, wrong.s, 5000)); !errors.Is(err, ErrMisuse) {
			t.Errorf("got %v", err)
		}
	}
	select {
	case err := <-replies:
		t.Errorf("a call got another one's reply, %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	for s, m := range map[*Session]*Message{s1: first, s2: second} {
		if err := s.Reply(ctx, m, parcel(t, s, 3)); err != nil {
			t.Error(err)
		}
		m.Release()
	}
	for range 2 {
		if err := <-replies; err != nil {
			t.Error(err)
		}
	}
	plain.Release()
	waitFor(t, func() bool {
		l := s0.l
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.mem.usage().used == 0 // what was refused is free as well
	})
}
