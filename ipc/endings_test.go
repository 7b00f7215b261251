package ipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// TestAWriterDoesNotEndInEOF: for who copies, io.EOF from a writer would be the end of
// what there is to copy.
func TestAWriterDoesNotEndInEOF(t *testing.T) {
	e, c := testEngine(t, Options{}), (*Client)(nil)
	e.Handle("one", func(ctx context.Context, s *Session) {
		if m, err := s.Recv(ctx); err == nil {
			m.Release()
		}
	})
	c = testClient(t, e, "a")
	ctx := testContext(t)
	s, err := c.Open(ctx, "controller/one", nil)
	if err != nil {
		t.Fatal(err)
	}
	src := bytes.NewReader(make([]byte, 64<<20))
	if _, err := io.Copy(io.Discard, io.TeeReader(src, s.Writer(ctx))); !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.EOF) {
		t.Errorf("a copy that was cut short ended with %v", err)
	}
	if _, err := c.Carry(ctx, "one", nil, bytes.NewReader(make([]byte, 64<<20))); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		t.Errorf("without an answer: %v", err)
	}
}

// TestAReaderGoesOnAfterANotice: that the other side was short of memory for a moment is
// no end of its stream.
func TestAReaderGoesOnAfterANotice(t *testing.T) {
	e := testEngine(t, Options{Budget: 4 << 20, Largest: 1 << 20})
	got := make(chan error, 1)
	e.Handle("read", func(ctx context.Context, s *Session) {
		n, err := io.Copy(io.Discard, s.Reader(ctx))
		if err == nil && n != 200_000 {
			err = fmt.Errorf("%d bytes", n)
		}
		got <- err
	})
	c := testClient(t, e, "a")
	ctx := testContext(t)
	s, err := c.Open(ctx, "controller/read", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := s.Writer(ctx)
	for range 2 {
		if _, err := w.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		s.starved(1)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// TestACallTellsOfMissingMemory: who waits for a reply receives nothing else, and must
// hear why there is none.
func TestACallTellsOfMissingMemory(t *testing.T) {
	e := testEngine(t, Options{Budget: 4 << 20, Largest: 2 << 20})
	c := testClient(t, e, "a")
	e.Handle("none", func(ctx context.Context, s *Session) {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		defer m.Release()
		if p, err := s.TryAlloc(2 << 20); err == nil {
			p.Release()
			t.Error("there was memory")
		}
	})
	ctx := testContext(t)
	s, err := c.Open(ctx, "controller/none", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Alloc(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Call(ctx, p); !errors.Is(err, ErrNoMemory) || !errors.Is(err, ErrPeer) {
		t.Errorf("got %v", err)
	}
}

// TestEndsHaveOneName: a session that ends with its link answers the same from every call.
func TestEndsHaveOneName(t *testing.T) {
	for name, end := range map[string]struct {
		by   func(e *Engine, c *Client)
		here error // what the companion gets
		over error // what the engine's handler gets
	}{
		"the companion closes": {func(_ *Engine, c *Client) { _ = c.Close() }, ErrClosed, ErrPeer},
		"the engine closes":    {func(e *Engine, _ *Client) { _ = e.Close() }, ErrPeer, ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			e := testEngine(t, Options{})
			got := make(chan error, 2)
			e.Handle("x", func(ctx context.Context, s *Session) {
				_, err := s.Recv(context.Background())
				got <- err
				_, err = s.Alloc(context.Background(), 5000)
				got <- err
			})
			c := testClient(t, e, "a")
			s, err := c.Open(testContext(t), "controller/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			end.by(e, c)
			<-c.Done()
			_, recv := s.Recv(testContext(t))
			_, alloc := s.Alloc(testContext(t), 5000)
			for what, err := range map[string]error{"Recv": recv, "Alloc": alloc, "SendBytes": s.SendBytes(testContext(t), []byte("x"))} {
				if !errors.Is(err, end.here) {
					t.Errorf("%s: %v", what, err)
				}
			}
			for _, what := range []string{"Recv", "Alloc"} {
				if err := <-got; !errors.Is(err, end.over) {
					t.Errorf("%s over there: %v", what, err)
				}
			}
		})
	}
}

// TestAnOpeningGivenUpIsNotOurContext: the handler can tell the other side's change of
// mind from the end of its own context.
func TestAnOpeningGivenUpIsNotOurContext(t *testing.T) {
	a, b := heapPair(t, 8, testHost{}, testHost{})
	s := a.newSession(1)
	b.mu.Lock()
	other := b.newSession(1)
	other.accepted = true
	b.mu.Unlock()
	if err := s.close(closing{closeCanceled, "it gave up opening"}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Recv(testContext(t)); !errors.Is(err, ErrPeer) || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestTryAllocGivesASegmentOfItsOwn: a large parcel for another companion is passed and
// not copied, however its memory was asked for.
func TestTryAllocGivesASegmentOfItsOwn(t *testing.T) {
	e := testEngine(t, Options{})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	if a.link.whole == 0 {
		t.Skip("segments are not passed on this system")
	}
	b.Handle("x", func(ctx context.Context, _ *Session) { <-ctx.Done() })
	s, err := a.Open(testContext(t), "b/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	var p *Parcel
	waitFor(t, func() bool {
		p, err = s.TryAlloc(4 * wholeSize) // more than there is: it is asked for, and then there
		return err == nil
	})
	defer p.Release()
	if !p.whole {
		t.Error("it would be copied")
	}
}

// TestTheEndOfALinkIsNotTheOtherSidesToClaim: whatever code a close bears, the session is
// over and nothing else is.
func TestTheEndOfALinkIsNotTheOtherSidesToClaim(t *testing.T) {
	for _, code := range []uint32{closeMemory + 1, 1 << 16, 1<<32 - 1} {
		a, b := heapPair(t, 8, testHost{}, testHost{})
		b.mu.Lock()
		s := b.newSession(1)
		s.accepted = true
		b.mu.Unlock()
		r := newRecord(kindClose, 0, s.id, code)
		r.setInline([]byte("so it says"))
		a.post(&r)
		if _, err := s.Recv(testContext(t)); !errors.Is(err, ErrPeer) || !strings.Contains(err.Error(), "so it says") {
			t.Errorf("code %d: %v", code, err)
		}
	}
}
