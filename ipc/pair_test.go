package ipc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"berth/internal/shm"
)

// The race detector is blind to mapped memory. Here both ends of a lane live in
// one process over heap memory, payloads included.

// memoryConn is a control stream inside one process.
type memoryConn struct {
	in   <-chan frame
	out  chan<- frame
	once *sync.Once
	gone chan struct{}
}

func memoryConns() (a, b *memoryConn) {
	ab, ba := make(chan frame, 64), make(chan frame, 64)
	once, gone := &sync.Once{}, make(chan struct{})
	return &memoryConn{ba, ab, once, gone}, &memoryConn{ab, ba, once, gone}
}

func (c *memoryConn) read() (frame, error) {
	select {
	case f := <-c.in:
		return f, nil
	case <-c.gone:
		return frame{}, io.EOF
	}
}

func (c *memoryConn) write(kind uint8, body []byte, _ ...grant) error {
	select {
	case c.out <- frame{kind: kind, body: body}:
		return nil
	case <-c.gone:
		return io.ErrClosedPipe
	}
}

func (c *memoryConn) hint(kind uint8) {
	select {
	case c.out <- frame{kind: kind}:
	default:
	}
}

func (c *memoryConn) close() error {
	c.once.Do(func() { close(c.gone) })
	return nil
}

// testHost serves every session with one handler and never has more memory to give.
type testHost struct{ h Handler }

func (h testHost) open(s *Session, o opening) *closing {
	if h.h == nil {
		return &closing{closeAddress, "nobody"}
	}
	s.peer, s.header = o.from, o.header
	go run(h.h, s)
	return nil
}
func (h testHost) grow(l *link, _ int)              { go l.denied() }
func (testHost) dead(*link, error)                  {}
func (testHost) parting(uint32, *shm.Segment, bool) {}

// heapPair is a lane with both ends in this process.
func heapPair(t testing.TB, slots uint32, engineHost, companionHost host) (engine, companion *link) {
	t.Helper()
	return joinedPair(t, slots, engineHost, companionHost, func(*link) {})
}

// joinedPair is heapPair whose ends are prepared before they are served.
func joinedPair(t testing.TB, slots uint32, engineHost, companionHost host, prepare func(*link)) (engine, companion *link) {
	t.Helper()
	size := laneSize(slots)
	shared := shm.HeapSegment(size)
	formatLane(shared.Bytes(), slots)
	up, down := shm.HeapSegment(256<<10), shm.HeapSegment(256<<10)
	ca, cb := memoryConns()
	own, grants, err := laneEvents()
	if err != nil {
		t.Fatal(err)
	}
	other := own
	if len(grants) > 0 {
		other = eventsFrom([]uintptr{duplicateHandle(t, own[0]), duplicateHandle(t, own[1])})
	}
	base := linkConfig{slots: slots, unit: 4096, window: 8, largest: 256 << 10}
	ce, cc := base, base
	ce.peer, ce.lane, ce.events, ce.conn, ce.host = "companion", shared, own, &deafConn{conn: ca}, engineHost
	cc.peer, cc.lane, cc.events, cc.conn, cc.host, cc.companion = "engine", alias(shared), other, cb, companionHost, true
	if engine, err = newLink(ce); err != nil {
		t.Fatal(err)
	}
	if companion, err = newLink(cc); err != nil {
		t.Fatal(err)
	}
	prepare(engine)
	prepare(companion)
	companion.mem.add(1, up)
	engine.theirs[1] = newForeign(1, alias(up))
	engine.mem.add(2, down)
	companion.theirs[2] = newForeign(2, alias(down))
	var wg sync.WaitGroup
	refuse := func(f frame) error {
		if f.kind == frameTrim {
			return nil
		}
		return fmt.Errorf("frame %d", f.kind)
	}
	wg.Go(func() { engine.serve(refuse) })
	wg.Go(func() { companion.serve(refuse) })
	t.Cleanup(func() {
		companion.fail(ErrClosed)
		wg.Wait()
	})
	return engine, companion
}

// alias is a second segment over the same heap memory, so that each end has its own to close.
func alias(s *shm.Segment) *shm.Segment {
	return s.Alias()
}

func TestLaneUnderTheRaceDetector(t *testing.T) {
	for _, slots := range []uint32{2, 8, 256} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			engine, companion := heapPair(t, slots, testHost{echo}, testHost{digest})
			var wg sync.WaitGroup
			for g := range 4 {
				wg.Go(func() { callLoop(t, companion, g, 300) })
			}
			wg.Go(func() { streamLoop(t, engine, 20) })
			wg.Wait()
		})
	}
}

func callLoop(t *testing.T, l *link, g, rounds int) {
	ctx := testContext(t)
	s, err := l.openSession(ctx, opening{address: "controller/echo", from: "", header: nil}, Controller, "echo")
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = s.Close() }()
	for i := range rounds {
		n := (g*7919 + i*613) % 9000
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
			t.Errorf("message %d of %d was mixed up", i, g)
		}
		m.Release()
	}
}

func streamLoop(t *testing.T, l *link, rounds int) {
	ctx := testContext(t)
	for i := range rounds {
		s, err := l.openSession(ctx, opening{address: "c/digest", from: "", header: nil}, "c", "digest")
		if err != nil {
			t.Error(err)
			return
		}
		body := make([]byte, 1<<20)
		fill(body, byte(i))
		for off := 0; off < len(body); off += 64 << 10 { // pieces that the small half can hold
			p, err := s.Alloc(ctx, 64<<10)
			if err != nil {
				t.Error(err)
				return
			}
			copy(p.Bytes(), body[off:])
			if err := s.send(ctx, p, 0, 0); err != nil {
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
		if want := sha256.Sum256(body); !bytes.Equal(m.Bytes(), want[:]) {
			t.Errorf("stream %d: wrong digest", i)
		}
		m.Release()
		_ = s.Close()
	}
}

func TestCancelledWaitsLeaveNothingBehind(t *testing.T) {
	engine, companion := heapPair(t, 8, testHost{func(ctx context.Context, _ *Session) { <-ctx.Done() }}, testHost{})
	ctx := testContext(t)
	s, err := companion.openSession(ctx, opening{address: "controller/x", from: "", header: nil}, Controller, "x")
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for {
		short, cancel := context.WithCancel(ctx)
		p, err := companion.alloc(short, 5000)
		if err != nil {
			t.Fatal(err)
		}
		if s.credit == 0 {
			cancel()
		}
		err = s.Send(short, p)
		cancel()
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			break
		}
		sent++
	}
	if sent != 8 {
		t.Fatalf("%d messages went out, the window is 8", sent)
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Recv(short); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	_ = s.Close()
	waitFor(t, func() bool {
		companion.mu.Lock()
		defer companion.mu.Unlock()
		return companion.mem.usage().used == 8*8192 // the eight that the silent service holds
	})
	_ = engine
}
