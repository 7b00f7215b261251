package ipc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"berth/internal/shm"
)

// TestWholeSegmentsReachCompanions sends parcels that are too large to copy.
func TestWholeSegmentsReachCompanions(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprintf("trusted=%v", trusted), func(t *testing.T) {
			e := testEngine(t, Options{})
			a, b := testClient(t, e, "a", Sizes(64<<10, 64<<10)), testClient(t, e, "b", Sizes(64<<10, 64<<10))
			before, files := e.Stats().Used, resources(t)
			seen := make(chan error, 8)
			b.HandleTrusted("digest", func(ctx context.Context, s *Session) {
				for {
					m, err := s.Recv(ctx)
					if err != nil {
						return
					}
					seen <- checkPassed(m, trusted)
					h := sha256.Sum256(m.Bytes())
					m.Release()
					if s.SendBytes(ctx, h[:]) != nil {
						return
					}
				}
			})
			ctx := testContext(t)
			open := a.Open
			if trusted {
				open = a.OpenTrusted
			}
			s, err := open(ctx, "b/digest", nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				p, err := s.Alloc(ctx, 6<<20+i*100_000)
				if err != nil {
					t.Fatal(err)
				}
				fill(p.Bytes(), byte(i))
				want := sha256.Sum256(p.Bytes())
				if err := s.Send(ctx, p); err != nil {
					t.Fatal(err)
				}
				if err := <-seen; err != nil {
					t.Error(err)
				}
				m, err := s.Recv(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(m.Bytes(), want[:]) {
					t.Fatal("wrong digest")
				}
				m.Release()
			}
			_ = s.Close()
			waitFor(t, func() bool { return e.Stats().Used == before && !resources(t).exceeds(files) })
		})
	}
}

func checkPassed(m *Message, trusted bool) error {
	if !shm.CanFreeze {
		return nil
	}
	if m.flags&flagWhole == 0 || !m.from.passed {
		return errors.New("6 MiB were copied")
	}
	if m.from.seg.Immutable() == trusted {
		return fmt.Errorf("immutable: %v, trusted: %v", m.from.seg.Immutable(), trusted)
	}
	return nil
}

// TestAWriterThatKeepsItsMapIsDropped sends a segment and keeps it mapped.
func TestAWriterThatKeepsItsMapIsDropped(t *testing.T) {
	needsWhole(t)
	e := testEngine(t, Options{})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	b.Handle("digest", digest)
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/digest", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Alloc(ctx, 5<<20)
	if err != nil {
		t.Fatal(err)
	}
	l := a.link
	l.mu.Lock()
	r := newRecord(kindMessage, flagWhole, s.id, 0)
	r.setLocation(location{p.ext.number, p.ext.block[0].generation, 0, 5 << 20})
	l.mu.Unlock()
	if err := l.send(ctx, &r); err != nil { // without unmapping it
		t.Fatal(err)
	}
	<-a.Done()
	waitFor(t, func() bool { return len(e.Stats().Dropped) == 1 && len(e.Stats().Companions) == 1 })
	if _, err := b.Open(ctx, "a/x", nil); !errors.Is(err, ErrAddress) {
		t.Fatalf("got %v", err)
	}
}

// TestASegmentThatIsReadIsNotPassed sends a part of a segment, and then the whole of it
// while the part is still being read: who reads it would see it go.
func TestASegmentThatIsReadIsNotPassed(t *testing.T) {
	e := testEngine(t, Options{})
	held := make(chan struct{})
	e.Handle("hold", func(ctx context.Context, s *Session) {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		close(held)
		<-ctx.Done()
		m.Release()
	})
	a, ctx := testClient(t, e, "a"), testContext(t)
	s, err := a.Open(ctx, "controller/hold", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Alloc(ctx, 5<<20)
	if err != nil {
		t.Fatal(err)
	}
	l := a.link
	for _, part := range []struct {
		flags  uint8
		length uint64
	}{{0, 4096}, {flagWhole, 5 << 20}} {
		l.mu.Lock()
		r := newRecord(kindMessage, part.flags, s.id, 0)
		r.setLocation(location{p.ext.number, p.ext.block[0].generation, 0, part.length})
		l.mu.Unlock()
		if err := l.send(ctx, &r); err != nil {
			t.Fatal(err)
		}
		<-held
	}
	<-a.Done()
	waitFor(t, func() bool { return len(e.Stats().Dropped) == 1 })
	if d := e.Stats().Dropped[0]; d.Kind != "protocol" || !strings.Contains(d.Reason, "2 leases") {
		t.Fatalf("dropped for %q: %s", d.Kind, d.Reason)
	}
}

// TestAFloorIsDueAfterTheLastSegment: short of memory, a companion gives its first extent
// back while its only other one is on its way to another companion. The engine hears of
// the first from the control stream, which may be faster than the ring.
func TestAFloorIsDueAfterTheLastSegment(t *testing.T) {
	needsWhole(t)
	e := testEngine(t, Options{Budget: 1 << 30})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	b.Handle("digest", digest)
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/digest", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Alloc(ctx, 5<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.takeCredit(ctx); err != nil { // else the link's mu is held
		t.Fatal(err)
	}
	l, ext := a.link, p.ext
	r := newRecord(kindMessage, flagWhole, s.id, 0)
	r.setLocation(location{ext.number, ext.block[0].generation, 0, 5 << 20})
	l.mem.remove(ext)
	first := l.mem.extents[0]
	l.pressed, first.idle = true, first.idle.Add(-pressedTime)
	l.mu.Unlock()
	_ = ext.seg.Close()
	l.shrink()
	waitFor(t, func() bool { return engineForgot(e, "a", first.number) })
	if err := l.send(ctx, &r); err != nil {
		t.Fatal(err)
	}
	q, err := a.Alloc(ctx, 5000) // from the floor
	if err != nil {
		t.Fatal(err)
	}
	q.Release()
}

func engineForgot(e *Engine, name string, number uint32) bool {
	l := e.member(name).link
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.theirs[number] == nil
}

// TestAShortenedParcelIsCopied: what is left of it is not worth a segment, and the engine
// takes none so small.
func TestAShortenedParcelIsCopied(t *testing.T) {
	e := testEngine(t, Options{})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	b.Handle("sink", func(ctx context.Context, s *Session) {
		if m, err := s.Recv(ctx); err == nil {
			_ = s.SendBytes(ctx, []byte{byte(len(m.Bytes()))})
			m.Release()
		}
	})
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/sink", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Alloc(ctx, wholeSize+1<<20)
	if err != nil {
		t.Fatal(err)
	}
	p.Shorten(100)
	if err := s.Send(ctx, p); err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv(ctx)
	if err != nil {
		t.Fatalf("%v; %+v", err, e.Stats().Dropped)
	}
	defer m.Release()
	if m.Bytes()[0] != 100 {
		t.Errorf("%d bytes came", m.Bytes()[0])
	}
}

// TestTheDirectoryFollowsASegment: it is shown where it is counted.
func TestTheDirectoryFollowsASegment(t *testing.T) {
	e := testEngine(t, Options{})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	got := make(chan struct{})
	b.Handle("x", func(ctx context.Context, s *Session) {
		m, err := s.Recv(ctx)
		if err == nil {
			defer m.Release()
		}
		close(got)
		<-ctx.Done()
	})
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	sendEmpty(t, ctx, s, 32<<20)
	<-got
	waitFor(t, func() bool {
		counted := map[string]int64{}
		for _, c := range e.Stats().Companions {
			counted[c.Name] = c.BlockBytes
		}
		for _, d := range a.Companions() {
			if d.BlockBytes != counted[d.Name] {
				return false
			}
		}
		return true
	})
}

// needsWhole skips a test of segments that pass whole where they don't.
func needsWhole(t *testing.T) {
	t.Helper()
	if !shm.CanFreeze {
		t.Skip("whole segments are not passed on this system")
	}
}

// TestAPassedSegmentHoldsItsMessageAlone: what its sender had in that memory before is for
// others.
func TestAPassedSegmentHoldsItsMessageAlone(t *testing.T) {
	needsWhole(t)
	e := testEngine(t, Options{})
	e.Handle("sink", func(ctx context.Context, s *Session) {
		for {
			m, err := s.Recv(ctx)
			if err != nil {
				return
			}
			m.Release()
		}
	})
	a, b := testClient(t, e, "a"), testClient(t, e, "b")
	secrets := make(chan int, 1)
	b.Handle("sink", func(ctx context.Context, s *Session) {
		m, err := s.Recv(ctx)
		if err != nil {
			secrets <- -1
			return
		}
		n := 0
		for _, v := range m.from.seg.Bytes()[len(m.Bytes()):] {
			if v != 0 {
				n++
			}
		}
		m.Release()
		secrets <- n
	})
	ctx := testContext(t)
	private, err := a.Open(ctx, "controller/sink", nil)
	if err != nil {
		t.Fatal(err)
	}
	public, err := a.Open(ctx, "b/sink", nil)
	if err != nil {
		t.Fatal(err)
	}
	a.link.mu.Lock()
	a.link.shrinking = true // its timer never runs: what lies idle stays
	a.link.mu.Unlock()
	p, err := private.Alloc(ctx, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	p.Fill(bytes.Repeat([]byte{0xaa}, 8<<20))
	e8 := p.ext
	if err := private.Send(ctx, p); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		a.link.mu.Lock()
		defer a.link.mu.Unlock()
		return e8.sent == 0
	})
	if p, err = public.Alloc(ctx, 8<<20-10_000); err != nil {
		t.Fatal(err)
	}
	if p.ext != e8 {
		t.Fatal("it has got other memory")
	}
	p.Shorten(5 << 20)
	p.Fill(bytes.Repeat([]byte{0xbb}, 5<<20))
	if err := public.Send(ctx, p); err != nil {
		t.Fatal(err)
	}
	if n := <-secrets; n != 0 {
		t.Errorf("%d bytes beside the message", n)
	}
}
