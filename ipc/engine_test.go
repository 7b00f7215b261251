package ipc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/session"
)

// testSession is a session of its own for one test.
func testSession(t testing.TB) session.Session {
	t.Helper()
	s, err := session.Named(fmt.Sprintf("ipc-%d-%x", os.Getpid(), rand.Uint32()))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := s.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return s
}

func testEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := NewEngine(testSession(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func testClient(t testing.TB, e *Engine, name string, opts ...DialOption) *Client {
	t.Helper()
	c, err := Dial(testContext(t), e.Endpoint(), name, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// echo replies to every request with a copy, and sends back every other message.
func echo(ctx context.Context, s *Session) {
	for {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		p, err := s.Alloc(ctx, len(m.Bytes()))
		if err != nil {
			m.Release() // or its memory would stay on the account
			return
		}
		copy(p.Bytes(), m.Bytes())
		if m.Request() {
			err = s.Reply(ctx, m, p)
		} else {
			err = s.Send(ctx, p)
		}
		m.Release()
		if err != nil {
			return
		}
	}
}

// digest answers a stream with its SHA-256.
func digest(ctx context.Context, s *Session) {
	h := sha256.New()
	if _, err := io.Copy(h, s.Reader(ctx)); err != nil {
		_ = s.Fail(err.Error())
		return
	}
	_ = s.SendBytes(ctx, h.Sum(nil))
}

func TestCallsOfEverySize(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("echo", echo)
	c := testClient(t, e, "outlook")
	ctx := testContext(t)
	s, err := c.Open(ctx, "controller/echo", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 64, maxInline, maxInline + 1, 4095, 4096, 4097, 65536, 1 << 20, 5 << 20, 33<<20 + 1} {
		p, err := c.Alloc(ctx, n)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		fill(p.Bytes(), byte(n))
		m, err := s.Call(ctx, p)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		want := make([]byte, n)
		fill(want, byte(n))
		if !bytes.Equal(m.Bytes(), want) {
			t.Fatalf("%d bytes came back changed", n)
		}
		m.Release()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { st := e.Stats().Companions[0]; return st.Sessions == 0 && st.UsedBytes == 0 })
}

func fill(b []byte, seed byte) {
	for i := range b {
		b[i] = seed + byte(i*7)
	}
}

// waitFor waits for something that another goroutine is about to do; the test's
// own deadline is the watchdog.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestManySessionsAndGoroutinesShareALane(t *testing.T) {
	e := testEngine(t, Options{Window: 4})
	e.Handle("echo", echo)
	c := testClient(t, e, "outlook")
	ctx := testContext(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			s, err := c.Open(ctx, "controller/echo", nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = s.Close() }()
			var inner sync.WaitGroup
			for h := range 3 {
				inner.Go(func() {
					for i := range 200 {
						n := (g*7919 + h*104729 + i*613) % 20000
						p, err := s.Alloc(ctx, n)
						if err != nil {
							t.Error(err)
							return
						}
						fill(p.Bytes(), byte(i))
						m, err := s.Call(ctx, p)
						if err != nil {
							t.Error(err)
							return
						}
						want := make([]byte, n)
						fill(want, byte(i))
						if !bytes.Equal(m.Bytes(), want) {
							t.Errorf("message %d of %d/%d was mixed up", i, g, h)
						}
						m.Release()
					}
				})
			}
			inner.Wait()
		})
	}
	wg.Wait()
}

func TestCarryStreamsMoreThanTheBlockHolds(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20})
	e.Handle("digest", digest)
	c := testClient(t, e, "outlook", Sizes(1<<20, 64<<10))
	for _, size := range []int{0, 1, 100_000, chunk, 3*chunk + 17, 40 << 20} {
		body := make([]byte, size)
		fill(body, 3)
		want := sha256.Sum256(body)
		got, err := c.Carry(testContext(t), "digest", []byte(`{"n":1}`), bytes.NewReader(body))
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(got, want[:]) {
			t.Fatalf("%d bytes: wrong digest", size)
		}
	}
}

func TestCarryReportsAFailingSource(t *testing.T) {
	e := testEngine(t, Options{})
	failed := make(chan error, 1)
	e.Handle("digest", func(ctx context.Context, s *Session) {
		_, err := io.Copy(io.Discard, s.Reader(ctx))
		failed <- err
	})
	c := testClient(t, e, "outlook")
	broken := errors.New("the disk is gone")
	_, err := c.Carry(testContext(t), "digest", nil, io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), &failingReader{broken}))
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if err := <-failed; !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "the disk is gone") {
		t.Fatalf("the service saw %v", err)
	}
}

type failingReader struct{ err error }

func (f *failingReader) Read([]byte) (int, error) { return 0, f.err }

func TestOpenErrors(t *testing.T) {
	e := testEngine(t, Options{})
	c := testClient(t, e, "outlook")
	for _, address := range []string{"controller/none", "nobody/none", "controller", "", "a b/c", "x/y/z"} {
		if _, err := c.Open(testContext(t), address, nil); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := c.Open(testContext(t), "controller/none", make([]byte, maxHeader+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a huge header: %v", err)
	}
}

func TestMemoryRunsOutAndComesBack(t *testing.T) {
	e := testEngine(t, Options{Budget: 4 << 20, Largest: 1 << 20})
	hold := make(chan *Message, 100)
	noted := make(chan error, 1)
	e.Handle("hold", func(ctx context.Context, s *Session) {
		for {
			m, err := s.Recv(ctx)
			if errors.Is(err, ErrStarved) {
				noted <- err
				continue
			}
			if err != nil {
				return
			}
			hold <- m
		}
	})
	c := testClient(t, e, "outlook", Sizes(1<<20, 64<<10))
	ctx := testContext(t)
	s, err := c.Open(ctx, "controller/hold", nil)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		p, err := c.Alloc(short, 256<<10)
		cancel()
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
		if err := s.Send(ctx, p); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	if sent < 4 || sent > 16 {
		t.Fatalf("%d parcels of 256 KiB in a budget of 4 MiB", sent)
	}
	if _, err := s.TryAlloc(256 << 10); !errors.Is(err, ErrNoMemory) {
		t.Fatalf("got %v", err)
	}
	if err := <-noted; !strings.Contains(err.Error(), "262144") {
		t.Fatal(err)
	}
	go func() { (<-hold).Release() }()
	p, err := c.Alloc(ctx, 256<<10)
	if err != nil {
		t.Fatalf("after a release: %v", err)
	}
	p.Release()
}

func TestEngineOpensTowardsACompanion(t *testing.T) {
	e := testEngine(t, Options{})
	c := testClient(t, e, "shell")
	c.Handle("digest", digest)
	ctx := testContext(t)
	s, err := e.Open(ctx, "shell/digest", nil)
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 9<<20)
	fill(body, 1)
	w := s.Writer(ctx)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(body); !bytes.Equal(m.Bytes(), want[:]) {
		t.Fatal("wrong digest")
	}
	m.Release()
	if _, err := e.Open(ctx, "nobody/digest", nil); !errors.Is(err, ErrAddress) {
		t.Fatalf("got %v", err)
	}
}

func TestAccept(t *testing.T) {
	e := testEngine(t, Options{})
	c := testClient(t, e, "shell")
	ctx := testContext(t)
	got := make(chan string, 1)
	go func() {
		s, err := c.Accept(ctx)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- s.Peer() + "→" + s.Service() + ":" + string(s.Header())
	}()
	var s *Session
	waitFor(t, func() bool {
		var err error
		s, err = e.Open(ctx, "shell/anything", []byte("h"))
		return err == nil
	})
	defer func() { _ = s.Close() }()
	if g := <-got; g != "controller→anything:h" {
		t.Fatal(g)
	}
}

func TestNamesAreUnique(t *testing.T) {
	e := testEngine(t, Options{})
	c := testClient(t, e, "outlook")
	if _, err := Dial(testContext(t), e.Endpoint(), "outlook"); !errors.Is(err, ErrRefused) {
		t.Fatalf("a taken name: %v", err)
	}
	_ = c.Close()
	again, err := Dial(testContext(t), e.Endpoint(), "outlook")
	if err != nil {
		t.Fatalf("after it left: %v", err)
	}
	if all := again.Companions(); len(all) != 1 || all[0].Name != "outlook" || all[0].PID != os.Getpid() {
		t.Fatalf("directory: %+v", all)
	}
	_ = again.Close()
	if _, err := Dial(testContext(t), e.Endpoint(), "controller"); !errors.Is(err, ErrAddress) {
		t.Fatalf("the engine's own name: %v", err)
	}
}

func TestAFullEngineMakesCompanionsWait(t *testing.T) {
	e := testEngine(t, Options{Companions: 1})
	first := testClient(t, e, "first")
	short, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
	defer cancel()
	if _, err := Dial(short, e.Endpoint(), "second"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	done := make(chan error, 1)
	go func() {
		c, err := Dial(testContext(t), e.Endpoint(), "third")
		if err == nil {
			err = c.Close()
		}
		done <- err
	}()
	_ = first.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestEngineCloseEndsEverything(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("silent", func(ctx context.Context, s *Session) { <-ctx.Done() })
	c := testClient(t, e, "outlook")
	s, err := c.Open(testContext(t), "controller/silent", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		p, err := c.Alloc(testContext(t), 1000) // more than a record holds
		if err == nil {
			_, err = s.Call(testContext(t), p)
		}
		got <- err
	}()
	waitFor(t, func() bool { return e.Stats().Companions[0].UsedBytes > 0 })
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, ErrPeer) {
		t.Fatalf("the call in flight got %v", err)
	}
	<-c.Done()
	if _, err := c.Open(testContext(t), "controller/silent", nil); !errors.Is(err, ErrPeer) {
		t.Fatalf("got %v", err)
	}
}

// sendEmpty sends a parcel of n bytes that nobody has filled.
func sendEmpty(t *testing.T, ctx context.Context, s *Session, n int) {
	t.Helper()
	p, err := s.Alloc(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(ctx, p); err != nil {
		t.Fatal(err)
	}
}
