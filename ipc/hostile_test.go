package ipc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"berth/internal/shm"
)

// FuzzControlFrames feeds foreign bytes to everything that parses a frame's body.
func FuzzControlFrames(f *testing.F) {
	f.Add(hello{version: Version, pid: 1, outgoing: 1, incoming: 2, name: "outlook"}.encode())
	f.Add(welcome{version: Version, slots: 256, unit: 4096, window: 64, directory: directorySize, lane: 36864, largest: 1}.encode())
	f.Add(extentFrame{1, outgoing, 4096}.encode())
	f.Add(refusal{1, 2, "no"}.encode())
	f.Add(opening{address: "a/b", from: "c", header: []byte("h")}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHello(b); err == nil && h.version == Version && !bytes.Equal(h.encode(), b) && b[10]|b[11] == 0 {
			t.Errorf("hello %+v was made from %x", h, b)
		}
		if w, err := decodeWelcome(b); err == nil && w.lane < uint64(laneSize(w.slots)) {
			t.Errorf("a lane of %d bytes for %d slots", w.lane, w.slots)
		}
		if e, err := decodeExtent(b); err == nil && !bytes.Equal(e.encode(), b) {
			t.Errorf("extent %+v was made from %x", e, b)
		}
		if o, err := decodeOpening(b); err == nil && !bytes.Equal(o.encode(), b) {
			t.Errorf("opening %+v was made from %x", o, b)
		}
		_, _ = decodeRefusal(b)
		_, _, _ = readFrame(bytes.NewReader(b))
	})
}

// FuzzRecords plays a companion that puts any records it likes into the ring.
func FuzzRecords(f *testing.F) {
	f.Add(script(
		newRecord(kindOpen, 0, 1, 8), newRecord(kindMessage, flagInline, 1, 0), newRecord(kindClose, flagInline, 1, 0)))
	f.Add(script(located(kindMessage, 1, location{1, 0, 0, 1 << 63}), released(location{2, 1, 4096, 0}, location{2, 1, 0, 0})))
	f.Add(script(newRecord(kindOpened, 0, 2, 8), newRecord(kindCredit, 0, 2, 1<<31), newRecord(99, 0xff, 7, 7)))
	f.Fuzz(func(t *testing.T, b []byte) { playRecords(t, b) })
}

func script(records ...record) []byte {
	var b []byte
	for _, r := range records {
		for _, w := range r {
			b = le.AppendUint64(b, w)
		}
	}
	return b
}

func located(kind uint8, session uint32, loc location) record {
	r := newRecord(kind, 0, session, 0)
	r.setLocation(loc)
	return r
}

func released(all ...location) record {
	r := newRecord(kindRelease, 0, 0, 0)
	for _, loc := range all {
		r.addRelease(loc)
	}
	return r
}

// playRecords handles the records in b as the engine would, and checks that
// whatever it believed lies inside the memory that was agreed on.
func playRecords(t *testing.T, b []byte) {
	engine := loneEngine(t)
	if err := engine.openUnanswered("x/y"); err != nil {
		t.Fatal(err)
	}
	extent := engine.theirs[1].seg.Bytes()
	for ; len(b) >= recordSize; b = b[recordSize:] {
		var r record
		for i := range r {
			r[i] = le.Uint64(b[8*i:])
		}
		if r.kind() == kindOpen && len(b) > recordSize && r.flags()&flagInline == 0 {
			copy(extent, b[recordSize:]) // whatever follows is an opening
		}
		if engine.dispatch(&r) != nil {
			break
		}
	}
	engine.checkCredits(t)
	engine.lastWords()
	engine.fail(ErrClosed)
	engine.takeDown()
}

func (l *link) checkCredits(t *testing.T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, open := range l.sessions {
		if open.credit < 0 || open.credit > open.limit || open.pending > l.window {
			t.Errorf("session %d: credit %d of %d, pending %d", open.id, open.credit, open.limit, open.pending)
		}
	}
}

// nowhere is a control stream to nobody.
type nowhere struct{}

func (nowhere) read() (frame, error)                { select {} }
func (nowhere) write(uint8, []byte, ...grant) error { return nil }
func (nowhere) hint(uint8)                          {}
func (nowhere) close() error                        { return nil }

// loneEngine is the engine's end of a lane whose other end is the fuzzer.
func loneEngine(t testing.TB) *link {
	t.Helper()
	lane, up, down := shm.HeapSegment(laneSize(16)), shm.HeapSegment(16<<10), shm.HeapSegment(16<<10)
	own, _, err := laneEvents()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLink(linkConfig{
		peer: "fuzzer", slots: 16, unit: 4096, window: 8, largest: 16 << 10,
		lane: lane, events: own, conn: nowhere{}, host: testHost{greedy},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.theirs[1] = &foreign{number: 1, seg: up}
	l.mem.add(2, down)
	return l
}

// greedy looks at every byte that it is given.
func greedy(ctx context.Context, s *Session) {
	sum := byte(0)
	for {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		for _, c := range m.Bytes() {
			sum += c
		}
		m.Release()
	}
}

// openUnanswered opens a session without waiting for the answer.
func (l *link) openUnanswered(address string) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s, err := l.openSession(ctx, opening{address: address, from: "", header: nil}, "x", "y")
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("opened %v, %w", s, err)
	}
	return nil
}

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
		f, _, err := readFrame(c)
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
