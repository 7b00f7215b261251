package ipc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// trio is an engine with two companions over heap memory, where the race detector
// sees every byte of lanes and payloads.
func trio(t *testing.T) (e *Engine, a, b *link) {
	t.Helper()
	e = listless(t, Options{Budget: 64 << 20})
	e.Handle("echo", echo)
	e.Handle("digest", digest)
	return e, heapCompanion(t, e, "a", echo), heapCompanion(t, e, "b", echo)
}

// heapCompanion registers a companion with e over heap memory, and answers its end.
func heapCompanion(t *testing.T, e *Engine, name string, h Handler) *link {
	t.Helper()
	m, _ := e.stranger()
	if err := e.enter(m, name, 1); err != nil {
		t.Fatal(err)
	}
	engine, companion := heapPair(t, 8, m, testHost{h})
	m.link = engine
	m.ready.Store(true)
	return companion
}

// TestTheEngineAndTwoCompanionsUnderTheRaceDetector: calls and streams between the
// companions and with the controller, in both directions, and then one of them dies.
func TestTheEngineAndTwoCompanionsUnderTheRaceDetector(t *testing.T) {
	e, a, b := trio(t)
	var wg sync.WaitGroup
	for g := range 2 {
		wg.Go(func() { relayedCalls(t, a, "b", g, 150) })
		wg.Go(func() { relayedCalls(t, b, "a", g, 150) })
		wg.Go(func() { callLoop(t, a, g, 150) })
	}
	wg.Go(func() { relayedStream(t, b) })
	wg.Wait()

	ctx := testContext(t)
	s, err := a.openSession(ctx, opening{address: "b/echo"}, "b", "echo")
	if err != nil {
		t.Fatal(err)
	}
	b.fail(errors.New("killed"))
	if _, err := s.Recv(ctx); !errors.Is(err, ErrPeer) {
		t.Errorf("the session with the dead one ended with %v", err)
	}
	callLoop(t, a, 9, 50) // the other goes on
	m := e.member("a")
	_ = s.Close()
	waitFor(t, func() bool { // and nothing of it is held any more
		m.link.mu.Lock()
		defer m.link.mu.Unlock()
		a.mu.Lock()
		defer a.mu.Unlock()
		used := a.mem.usage().used
		lent := m.link.mem.usage().used
		return used == 0 && lent == 0 && len(a.sessions) == 0
	})
	e.wg.Wait()
}

func relayedCalls(t *testing.T, l *link, peer string, g, rounds int) {
	ctx := testContext(t)
	s, err := l.openSession(ctx, opening{address: peer + "/echo"}, peer, "echo")
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = s.Close() }()
	for i := range rounds {
		if err := relayedCall(ctx, s, (g*7919+i*613)%9000, byte(i)); err != nil {
			t.Errorf("to %s, call %d of %d: %v", peer, i, g, err)
			return
		}
	}
}

func relayedCall(ctx context.Context, s *Session, n int, seed byte) error {
	p, err := s.Alloc(ctx, n)
	if err != nil {
		return err
	}
	fill(p.Bytes(), seed)
	m, err := s.Call(ctx, p)
	if err != nil {
		return err
	}
	defer m.Release()
	want := make([]byte, n)
	fill(want, seed)
	if !bytes.Equal(m.Bytes(), want) {
		return fmt.Errorf("%d bytes came back changed", n)
	}
	return nil
}

// relayedStream sends pieces that the small halves can hold to the controller.
func relayedStream(t *testing.T, l *link) {
	ctx := testContext(t)
	s, err := l.openSession(ctx, opening{address: "controller/digest"}, Controller, "digest")
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = s.Close() }()
	h := sha256.New()
	for i := range 40 {
		p, err := s.Alloc(ctx, 20_000)
		if err != nil {
			t.Error(err)
			return
		}
		fill(p.Bytes(), byte(i))
		h.Write(p.Bytes())
		if err := s.Send(ctx, p); err != nil {
			t.Error(err)
			return
		}
	}
	if err := s.Writer(ctx).Close(); err != nil {
		t.Error(err)
		return
	}
	m, err := s.Recv(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	defer m.Release()
	if !bytes.Equal(m.Bytes(), h.Sum(nil)) {
		t.Error("another digest")
	}
}
