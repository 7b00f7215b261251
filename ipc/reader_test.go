package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"
)

// nothingUsed waits until nobody has anything on the account any more.
func nothingUsed(t *testing.T, e *Engine) {
	t.Helper()
	waitFor(t, func() bool { return e.Stats().Used == 0 })
}

// TestWhatAReaderHoldsEndsWithItsSession: a service that has seen enough forgets its
// reader in the middle of a message.
func TestWhatAReaderHoldsEndsWithItsSession(t *testing.T) {
	e := testEngine(t, Options{})
	read := make(chan error, 1)
	var late *Reader
	e.Handle("head", func(ctx context.Context, s *Session) {
		late = s.Reader(ctx)
		_, err := io.ReadFull(late, make([]byte, 16))
		_ = s.Fail("not a picture")
		if _, again := late.Read(make([]byte, 16)); !errors.Is(again, ErrClosed) {
			t.Errorf("a read after the end answered %v", again)
		}
		read <- err
	})
	c, ctx := testClient(t, e, "a"), testContext(t)
	s, err := c.Open(ctx, "controller/head", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendBytes(ctx, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	waitFor(t, func() bool { // and not only when the companion leaves
		c.link.mu.Lock()
		defer c.link.mu.Unlock()
		return c.link.mem.usage().used == 0
	})
	_ = c.Close()
	nothingUsed(t, e)
	_ = late.Close()
}

// TestRetainTakesNoMoreThanWasAnnounced: what follows the announced bytes in the same
// message is given back with it.
func TestRetainTakesNoMoreThanWasAnnounced(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20})
	c, ctx := testClient(t, e, "a"), testContext(t)
	s, err := c.Open(ctx, "controller/.cache", []byte(`{"op":"retain","name":"x","bytes":5}`))
	if err != nil {
		t.Fatal(err)
	}
	sendEmpty(t, ctx, s, 32<<20)
	if _, err := s.Recv(ctx); !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v", err)
	}
	_ = c.Close()
	nothingUsed(t, e)
	next := testClient(t, e, "b")
	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	p, err := next.Alloc(short, 32<<20)
	if err != nil {
		t.Fatalf("for who comes next: %v", err)
	}
	p.Release()
}

// TestASessionEndsUnderItsReader: whoever closes the session doesn't take the memory away
// from under a reader in another goroutine.
func TestASessionEndsUnderItsReader(t *testing.T) {
	engine, companion := heapPair(t, 64, testHost{}, testHost{flood})
	ctx := testContext(t)
	for range 200 {
		s, err := engine.openSession(ctx, opening{address: "c/flood"}, "c", "flood")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			r := s.Reader(ctx)
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 300))
			if !errors.Is(err, ErrClosed) {
				t.Errorf("the reader ended after %d bytes with %v", n, err)
			}
		})
		time.Sleep(100 * time.Microsecond)
		_ = s.Close()
		wg.Wait()
		if len(s.readers) != 0 {
			t.Fatalf("a closed session has %d readers", len(s.readers))
		}
	}
	waitFor(t, func() bool {
		companion.mu.Lock()
		defer companion.mu.Unlock()
		return companion.mem.usage().used == 0
	})
}

// flood writes until the other side closes.
func flood(ctx context.Context, s *Session) {
	w := s.Writer(ctx)
	defer w.Abandon()
	for b := make([]byte, 9000); ; {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// TestManyStreamsLeaveNoReaders: a session that carries one stream after another
// remembers none of those that are through.
func TestManyStreamsLeaveNoReaders(t *testing.T) {
	engine, _ := heapPair(t, 64, testHost{}, testHost{func(ctx context.Context, s *Session) {
		for i := range 20 {
			w := s.Writer(ctx)
			_, _ = fmt.Fprintf(w, "stream %d", i)
			_ = w.Close()
		}
		_, _ = s.Recv(ctx)
	}})
	ctx := testContext(t)
	s, err := engine.openSession(ctx, opening{address: "c/x"}, "c", "x")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		b, err := io.ReadAll(s.Reader(ctx))
		if want := fmt.Sprintf("stream %d", i); err != nil || string(b) != want {
			t.Fatalf("%q, %v, want %q", b, err, want)
		}
	}
	if len(s.readers) != 0 {
		t.Errorf("%d readers are remembered", len(s.readers))
	}
	_ = s.Close()
}
