package ipc

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"
)

// What whole segments cost who receives them.

// sendSegment sends a parcel that travels whole.
func sendSegment(ctx context.Context, s *Session) error {
	p, err := s.Alloc(ctx, wholeSize)
	if err != nil {
		return err
	}
	return s.Send(ctx, p)
}

// TestSegmentsCountForWhoReceivesThem: nobody gets more than its share, however much it
// keeps, and a release lets the next one through.
func TestSegmentsCountForWhoReceivesThem(t *testing.T) {
	needsWhole(t)
	const share = 12 << 20
	e := testEngine(t, Options{Budget: 64 << 20, Share: share})
	a, b := testClient(t, e, "a", Sizes(64<<10, 64<<10)), testClient(t, e, "b", Sizes(64<<10, 64<<10))
	got := make(chan *Message, 20)
	b.Handle("x", func(ctx context.Context, s *Session) {
		for {
			m, err := s.Recv(ctx)
			if err != nil {
				return
			}
			got <- m
		}
	})
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		for range 8 {
			if err := sendSegment(ctx, s); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	passing := e.member("b").link
	for range 8 {
		m := <-got
		waitFor(t, func() bool { // the next one waits, or there is none
			passing.mu.Lock()
			defer passing.mu.Unlock()
			return len(passing.full) > 0 || len(sent) > 0
		})
		for _, c := range e.Stats().Companions {
			if c.Name == "b" && c.BlockBytes > share {
				t.Errorf("%s has %d MiB of a share of %d", c.Name, c.BlockBytes>>20, share>>20)
			}
		}
		m.Release()
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// TestOneSegmentFitsWhateverElseThereIs: of those who hold no other nobody waits, for
// nothing would end that.
func TestOneSegmentFitsWhateverElseThereIs(t *testing.T) {
	needsWhole(t)
	e := testEngine(t, Options{Budget: 64 << 20, Share: 14 << 20})
	a, b := testClient(t, e, "a", Sizes(64<<10, 64<<10)), testClient(t, e, "b", Sizes(64<<10, 64<<10))
	b.Handle("x", echoNothing)
	p, err := b.Alloc(testContext(t), 3<<20) // has an extent of 12 MiB made
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	ctx := testContext(t)
	s, err := a.Open(ctx, "b/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := sendSegment(ctx, s); err != nil {
			t.Fatal(err)
		}
		m, err := s.Recv(ctx)
		if err != nil {
			t.Fatal(err)
		}
		m.Release()
	}
}

// echoNothing releases every message and answers it with an empty one.
func echoNothing(ctx context.Context, s *Session) {
	for {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		m.Release()
		if s.SendBytes(ctx, nil) != nil {
			return
		}
	}
}

// TestAStoppedReceiverIsNotDroppedForSegments: so many more are sent to it than frames may
// wait for it.
func TestAStoppedReceiverIsNotDroppedForSegments(t *testing.T) {
	needsWhole(t)
	const sessions = 75 // of a window of 64
	e := testEngine(t, Options{Budget: 2 << 30})
	a := testClient(t, e, "a", Sizes(64<<10, 64<<10))
	b, m := deafClient(t, e, "b")
	defer b.discard(ErrClosed)
	all := openTo(t, a, b, sessions)
	stuff(t, m)
	sender := e.member("a")
	for _, l := range []*link{sender.link, a.link} { // small ones will do
		l.mu.Lock()
		l.whole = 4096
		l.mu.Unlock()
	}
	for n := range sessions * 60 {
		if err := all[n%sessions].Send(testContext(t), smallSegment(t, sender, a)); err != nil {
			t.Fatalf("after %d: %v", n, err)
		}
	}
	waitFor(t, func() bool {
		m.link.mu.Lock()
		defer m.link.mu.Unlock()
		return len(m.link.full) == sessions
	})
	if st := e.Stats(); len(st.Dropped) > 0 {
		t.Errorf("dropped: %+v", st.Dropped)
	}
}

// openTo opens sessions from a to b, whose control stream nobody reads.
func openTo(t *testing.T, a, b *Client, n int) (all []*Session) {
	t.Helper()
	b.Handle("x", func(ctx context.Context, _ *Session) { <-ctx.Done() })
	ctx, cancel := context.WithCancel(testContext(t))
	over := make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			b.link.answer() // it looks at its ring all the same
			time.Sleep(time.Millisecond)
		}
	}()
	for range n {
		s, err := a.Open(ctx, "b/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	cancel()
	<-over
	return all
}

// smallSegment is a parcel of a that travels whole and takes little memory.
func smallSegment(t *testing.T, m *member, a *Client) *Parcel {
	t.Helper()
	a.link.mu.Lock()
	n := len(a.link.mem.extents)
	a.link.mu.Unlock()
	if _, err := m.extent(outgoing, 64<<10); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		a.link.mu.Lock()
		defer a.link.mu.Unlock()
		return len(a.link.mem.extents) > n
	})
	a.link.mu.Lock()
	defer a.link.mu.Unlock()
	e := a.link.mem.extents[n]
	p := a.link.newParcel()
	p.at = e.take(len(e.block))
	p.ext, p.data, p.whole = e, e.seg.Bytes(), true
	return p
}

// TestRoomBehindTheLook: what becomes free right behind a look at the account is heard of.
func TestRoomBehindTheLook(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20})
	testClient(t, e, "a")
	o := e.charge(e.member("a"), e.opts.Budget)
	if o == nil {
		t.Fatal("there was room")
	}
	e.repay(0)
	<-o.changed
}

// TestCarryEndsWithoutMemory: the service waits for the rest of the body, and would for ever.
func TestCarryEndsWithoutMemory(t *testing.T) {
	ended := make(chan struct{})
	_, l := heapPair(t, 8, testHost{func(ctx context.Context, s *Session) {
		_, _ = io.Copy(io.Discard, s.Reader(ctx))
		close(ended)
	}}, testHost{})
	l.empty()
	c := &Client{link: l}
	_, err := c.Carry(testContext(t), "x", nil, bytes.NewReader(make([]byte, 10000)))
	<-ended
	only(t, "no memory", err, ErrNoMemory)
}
