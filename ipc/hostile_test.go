package ipc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// nowhere is a control stream to nobody.
type nowhere struct{}

func (nowhere) read() (frame, error)                { select {} }
func (nowhere) write(uint8, []byte, ...grant) error { return nil }
func (nowhere) hint(uint8)                          {}
func (nowhere) close() error                        { return nil }

// TestAScribblerIsDroppedAndNobodyElseNotices lets a companion write at random
// over its whole block and lane, while another works.
func TestAScribblerIsDroppedAndNobodyElseNotices(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	e := testEngine(t, Options{})
	e.Handle("echo", echo)
	e.Handle("digest", digest)
	honest := testClient(t, e, "honest")
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for i := range rounds {
		scribble(t, e, rand.New(rand.NewPCG(seed, uint64(i))))
		body := make([]byte, 300_000)
		fill(body, byte(i))
		want := sha256.Sum256(body)
		got, err := honest.Carry(testContext(t), "digest", nil, bytes.NewReader(body))
		if err != nil || !bytes.Equal(got, want[:]) {
			t.Fatalf("seed %d, round %d: the honest companion got %v", seed, i, err)
		}
	}
	waitFor(t, func() bool { return len(e.Stats().Companions) == 1 })
	if len(e.Stats().Dropped) == 0 {
		t.Fatal("nobody was dropped")
	}
	t.Logf("%d dropped, the last: %s", len(e.Stats().Dropped), e.Stats().Dropped[len(e.Stats().Dropped)-1].Reason)
}

func scribble(t *testing.T, e *Engine, rnd *rand.Rand) {
	t.Helper()
	ctx := testContext(t)
	c, err := Dial(ctx, e.Endpoint(), "scribbler", Sizes(128<<10, 64<<10))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, err := c.Open(ctx, "controller/echo", nil)
	if err != nil {
		return
	}
	l := c.link
	l.mu.Lock()
	targets := [][]byte{l.lane.Bytes(), l.lane.Bytes()[laneHead:], l.mem.extents[0].seg.Bytes()}
	l.mu.Unlock()
	for i := range 400 {
		if i%50 == 0 {
			if p, err := s.TryAlloc(5000); err == nil {
				short, cancel := context.WithTimeout(ctx, time.Millisecond)
				_ = s.Send(short, p)
				cancel()
			}
		}
		if !vandalise(l, targets[rnd.IntN(len(targets))], rnd) {
			return
		}
		_ = l.conn.write(frameDoorbell, nil)
		runtime.Gosched()
	}
}

// vandalise writes a few random words, often at the ring's next records, while the
// client is certain to keep its maps.
func vandalise(l *link, b []byte, rnd *rand.Rand) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	for range 1 + rnd.IntN(8) {
		off := rnd.IntN(len(b)/8) * 8
		v := rnd.Uint64()
		if rnd.IntN(2) == 0 { // a record that looks like the next one
			slot := l.tx.tail + uint32(rnd.IntN(3))
			w := word64(l.lane.Bytes(), laneHead+int(slot%uint32(len(l.tx.slots)))*recordSize)
			w.Store(uint64(slot+1) | uint64(1+rnd.IntN(8))<<32 | uint64(rnd.IntN(32))<<40 | uint64(rnd.IntN(60))<<48)
			continue
		}
		word64(b, off).Store(v)
	}
	return true
}

// TestRendezvousRefusesNonsense dials the socket by hand.
func TestRendezvousRefusesNonsense(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("dials a Unix socket by hand")
	}
	e := testEngine(t, Options{})
	old := hello{version: Version + 1, name: "outlook"}.encode()
	head := func(kind, handles, body int) []byte { h := encodeHead(uint8(kind), handles, body); return h[:] }
	for name, b := range map[string][]byte{
		"garbage":        []byte(strings.Repeat("x", 100)),
		"huge":           head(frameHello, 0, 1<<30),
		"short":          append(head(frameHello, 0, 4), 1, 2, 3, 4),
		"wrong frame":    head(frameMapped, 0, 0),
		"no handles":     head(frameHello, 2, 0),
		"bad name":       append(head(frameHello, 0, 34+3), hello{version: Version, name: "a/b"}.encode()...),
		"controller":     append(head(frameHello, 0, 34+10), hello{version: Version, name: Controller}.encode()...),
		"other version":  append(head(frameHello, 0, len(old)), old...),
		"says and waits": nil,
	} {
		c, err := net.Dial("unix", e.Endpoint())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if b == nil {
			_ = c.Close()
			continue
		}
		f, _, err := readFrame(c, new([frameHead]byte))
		if err == nil && f.kind != frameRefused {
			t.Errorf("%s: answered with frame %d", name, f.kind)
		}
		if name == "other version" {
			if err := refusedBy(f.body); !errors.Is(err, ErrVersion) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_ = c.Close()
	}
	testClient(t, e, "outlook") // the engine goes on
}

// TestARefusedOpeningKeepsNoHeader: a companion may leave thousands of them unclosed.
func TestARefusedOpeningKeepsNoHeader(t *testing.T) {
	engine, l := heapPair(t, 8, testHost{}, testHost{})
	p, err := l.alloc(testContext(t), 50_000)
	if err != nil {
		t.Fatal(err)
	}
	o := opening{address: "controller/x", header: make([]byte, 40_000)}.encode()
	p.Shorten(p.Fill(o))
	l.mu.Lock()
	s := l.newSession(l.nextID)
	l.nextID += 2
	r := newRecord(kindOpen, 0, s.id, uint32(l.window))
	l.sealLocked(p, &r, 0)
	l.post(&r)
	l.mu.Unlock()
	if err := s.answered(testContext(t)); err == nil {
		t.Fatal("it was accepted")
	}
	engine.mu.Lock()
	defer engine.mu.Unlock()
	if there := engine.sessions[s.id]; there == nil || len(there.header) > 0 {
		t.Errorf("the engine keeps %+v", there)
	}
}
