package ipc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"berth/internal/mutate"
	"berth/internal/shm"
)

// A hostile companion: an input is a program that writes to its own lane, to its
// block and to its control stream, while a real engine serves it and two honest
// companions exchange what is compared by hash.

func FuzzHostileCompanion(f *testing.F) { hostileTarget(f).Fuzz(f) }

// TestFuzzLoopHostileCompanion runs one program for a thousand executions of a parser.
func TestFuzzLoopHostileCompanion(t *testing.T) { mutate.Loop(t, hostileTarget(t)) }

// Steps of a program: one byte, and as many more as the step takes.
const (
	doPoke      = iota // 8 bytes at an offset of the lane or of an extent
	doRecord           // a record whose turn is right: kind, flags, session, argument, location
	doRaw              // a record of any bytes whose turn is right
	doOpen             // a session to one of the services
	doMessage          // a message in it, lying in the own block
	doGiveBack         // releases what the engine has sent, once or more often
	doFrame            // a control frame
	doHandles          // a control frame with handles
	doWord             // one of the words of a ring
	doScribble         // many random words
	doPause            // lets the engine run
	doWant             // more memory, extents mapped and forgotten
	doOpenInput        // the controller opens a session to this companion
	doSteps
)

var rogueServices = []string{"controller/echo", "controller/digest", "honest/echo", "other/echo", "controller/.cache", "nobody/x", "rogue/x", "a"}

func hostileSeeds() [][]byte {
	open := func(service, flags byte) []byte { return []byte{doOpen, service, flags} }
	message := func(session, flags byte, at byte, n uint16) []byte {
		return []byte{doMessage, session, flags, at, byte(n), byte(n >> 8)}
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{{0}}, parts...), nil) }
	return [][]byte{
		join(open(0, 0), message(1, flagRequest, 1, 5000), []byte{doPause, 200, doGiveBack, 0, 1, doGiveBack, 0, 2}),
		join(open(2, 0), message(1, 0, 1, 5000), []byte{doPause, 250}, message(1, 0, 1, 100), []byte{doScribble, 1, 20}),
		join(open(2, 1), message(1, flagWhole, 0, 40000), []byte{doPause, 250, doHandles, frameMapped, 2}),
		join([]byte{doOpenInput, doPause, 250, doGiveBack, 0, 3, doRecord, kindOpened, 0, 2, 8, 0, 0, 0, 0, 0, 0}),
		join([]byte{doWant, frameWant, 0, 0, 1, 0, 0, doPause, 200, doWant, frameForget, 1, 0, 0, 0, doWant, frameMapped, 9, 0, 0, 0}),
		join([]byte{doWord, 1, 255, 255, 255, 255, doWord, 3, 1, 0, 0, 0, doFrame, frameTrim, 0, doFrame, frameFailure, 3, 'b', 'y', 'e'}),
		join(open(1, 0), message(1, flagEnd, 3, 9000), []byte{doPoke, 1, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, doPause, 100}, []byte{doRaw}, bytes.Repeat([]byte{3, 8, 1}, 20)),
		{1}, {2, doFrame, frameHello, 0}, {3, doFrame, frameMapped, 4, 0, 0, 0, 0},
	}
}

func hostileTarget(tb testing.TB) mutate.Target {
	tb.Helper()
	e := testEngine(tb, Options{Budget: 64 << 20})
	e.Handle("echo", echo)
	e.Handle("digest", digest)
	h := &hostility{e: e, honest: testClient(tb, e, "honest"), other: testClient(tb, e, "other")}
	h.honest.Handle("echo", echo)
	h.other.Handle("echo", echo)
	h.exchange(tb, 0)
	base := h.e.Stats().Used
	usual := resources(tb)
	tb.Cleanup(func() { // runs before the engine ends
		deadline := time.Now().Add(30 * time.Second)
		for { // nothing of all of them is left
			st, r := e.Stats(), resources(tb)
			if len(st.Companions) == 2 && st.Used <= base+(8<<20) && r.files <= usual.files+8 && r.maps <= usual.maps+8 {
				break
			}
			if time.Now().After(deadline) {
				tb.Errorf("before: %d bytes, %+v; after: %d bytes, %+v, %+v", base, usual, st.Used, r, st.Companions)
				break
			}
			time.Sleep(time.Millisecond)
		}
		tb.Logf("%d programs, %d steps, %d were dropped for breaking the protocol", h.programs, h.steps, h.drops)
	})
	return mutate.Target{Name: "FuzzHostileCompanion", Seeds: hostileSeeds(), Slow: 1000, Run: h.run}
}

type hostility struct {
	e                      *Engine
	honest, other          *Client
	programs, steps, drops int
	last                   time.Time // of the drops
}

// run plays one program beside an exchange of the honest ones, and sees to it that
// the engine has forgotten the hostile one.
func (h *hostility) run(t testing.TB, program []byte) uint64 {
	var honest sync.WaitGroup
	honest.Go(func() { h.exchange(t, h.programs) })
	r := startRogue(t, h.e, program)
	steps, reached := r.play(t)
	honest.Wait()
	r.close()
	h.programs++
	h.steps += steps
	h.settle(t)
	if err := h.honest.Err(); err != nil {
		t.Fatalf("an honest companion was dropped: %v", err)
	}
	return reached
}

// settle waits until the hostile companion is gone.
func (h *hostility) settle(t testing.TB) {
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	for {
		h.e.mu.Lock()
		m, present, changed := h.e.members["rogue"], len(h.e.present), h.e.changed
		for _, d := range h.e.dropped {
			if d.At.After(h.last) {
				h.drops, h.last = h.drops+1, d.At
			}
		}
		h.e.mu.Unlock()
		if m == nil && present == 2 {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Millisecond): // who never entered changes nothing
		case <-patience.C:
			t.Fatalf("the engine keeps a companion that is gone: %+v", h.e.Stats())
		}
	}
}

// exchange is what the honest ones do: a stream to the controller, and a call from
// one to the other.
func (h *hostility) exchange(t testing.TB, n int) {
	rnd := rand.New(rand.NewPCG(uint64(n), 1))
	body := make([]byte, 1+rnd.IntN(40_000))
	for i := range body {
		body[i] = byte(rnd.Uint32())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	want := sha256.Sum256(body)
	got, err := h.honest.Carry(ctx, "digest", nil, bytes.NewReader(body))
	if err != nil || !bytes.Equal(got, want[:]) {
		t.Errorf("the controller answered %x, %v", got, err)
		return
	}
	if err := h.callOther(ctx, body); err != nil {
		t.Error(err)
	}
}

func (h *hostility) callOther(ctx context.Context, body []byte) error {
	s, err := h.honest.Open(ctx, "other/echo", nil)
	if err != nil {
		return fmt.Errorf("between the honest: %w", err)
	}
	defer func() { _ = s.Close() }()
	p, err := s.Alloc(ctx, len(body))
	if err != nil {
		return fmt.Errorf("between the honest: %w", err)
	}
	copy(p.Bytes(), body)
	m, err := s.Call(ctx, p)
	if err != nil {
		return fmt.Errorf("between the honest: %w", err)
	}
	defer m.Release()
	if sha256.Sum256(m.Bytes()) != sha256.Sum256(body) {
		return fmt.Errorf("between the honest %d bytes were changed", len(body))
	}
	return nil
}

// rogue is the hostile companion: it maps what it is given and never lets go of it
// before its end.
type rogue struct {
	e       *Engine
	conn    conn
	program []byte
	gone    chan struct{}
	ready   chan struct{} // the rendezvous went as far as the program wants
	manners byte          // how many of its mapped frames are right

	mu   sync.Mutex
	segs map[uint32]*shm.Segment // 0: the lane
	all  []*shm.Segment
	tail uint32
	next uint32 // session
	rnd  *rand.Rand
}

func startRogue(t testing.TB, e *Engine, program []byte) *rogue {
	t.Helper()
	c, _, err := dialConn(testContext(t), e.Endpoint())
	if err != nil {
		t.Fatalf("the engine is gone: %v", err)
	}
	r := &rogue{e: e, conn: c, program: program, gone: make(chan struct{}), ready: make(chan struct{}), segs: map[uint32]*shm.Segment{},
		next: 1, rnd: rand.New(rand.NewPCG(1, 2))}
	r.manners = r.byte() & 3
	if r.manners != 1 {
		_ = c.write(frameHello, hello{version: Version, name: "rogue", outgoing: 64 << 10, incoming: 64 << 10}.encode())
	} else {
		close(r.ready)
	}
	go r.listen()
	return r
}

// listen maps what comes and says so.
func (r *rogue) listen() {
	defer close(r.gone)
	for mapped := byte(0); ; {
		f, err := r.conn.read()
		if err != nil {
			return
		}
		number := uint32(0)
		var seg *shm.Segment
		switch {
		case f.kind == frameWelcome && len(f.handles) >= 2:
			if w, err := decodeWelcome(f.body); err == nil {
				seg, _ = shm.OpenSegment(f.handles[1], int(w.lane), shm.ReadWrite)
				f.handles = append(f.handles[:1], f.handles[2:]...)
			}
		case f.kind == frameExtent && len(f.handles) == 1:
			if e, err := decodeExtent(f.body); err == nil {
				access := shm.ReadOnly
				if e.half == outgoing {
					access = shm.ReadWrite
				}
				number = e.segment
				seg, _ = shm.OpenSegment(f.handles[0], int(e.size), access)
				f.handles = nil
			}
		}
		closeHandles(f.handles)
		r.keep(number, seg)
		if seg != nil && (r.manners == 0 || mapped < r.manners) {
			mapped++
			_ = r.conn.write(frameMapped, le.AppendUint32(nil, number))
		}
		if f.kind == frameRegistered || f.kind == frameRefused || r.manners > 1 && mapped >= r.manners {
			r.begin()
		}
	}
}

func (r *rogue) keep(number uint32, seg *shm.Segment) {
	if seg == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.segs[number] = seg
	r.all = append(r.all, seg)
}

func (r *rogue) begin() {
	select {
	case <-r.ready:
	default:
		close(r.ready)
	}
}

func (r *rogue) close() {
	_ = r.conn.close()
	<-r.gone
	for _, s := range r.all {
		_ = s.Close()
	}
}

func (r *rogue) byte() byte {
	if len(r.program) == 0 {
		return 0
	}
	b := r.program[0]
	r.program = r.program[1:]
	return b
}

func (r *rogue) uint16() uint16 { return uint16(r.byte()) | uint16(r.byte())<<8 }
func (r *rogue) uint32() uint32 { return uint32(r.uint16()) | uint32(r.uint16())<<16 }

func (r *rogue) bytes(n int) []byte {
	n = min(n, len(r.program))
	b := r.program[:n]
	r.program = r.program[n:]
	return b
}

// play runs the program to its end or until the engine has hung up. reached says
// which steps it took.
func (r *rogue) play(t testing.TB) (steps int, reached uint64) {
	select {
	case <-r.ready:
	case <-r.gone:
	case <-time.After(10 * time.Second):
		t.Error("the engine neither lets a companion in nor says why not")
	}
	for ; len(r.program) > 0 && steps < 200; steps++ {
		kind := r.byte() % doSteps
		select {
		case <-r.gone:
			return steps, reached | 1<<63
		default:
		}
		reached |= 1 << kind
		r.step(kind)
	}
	return steps, reached
}

func (r *rogue) step(kind byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch kind {
	case doPoke:
		r.poke(uint32(r.byte()&3), int(r.uint16())*8, r.bytes(8))
	case doRecord:
		rec := newRecord(r.byte(), r.byte(), uint32(r.byte()), uint32(r.byte()))
		rec.setLocation(location{uint32(r.byte()), uint32(r.byte()), uint64(r.byte()) * 2048, uint64(r.uint16())})
		r.push(rec)
	case doRaw:
		var rec record
		for i := range rec {
			var w [8]byte
			copy(w[:], r.bytes(8))
			rec[i] = le.Uint64(w[:])
		}
		r.push(rec)
	case doOpen:
		r.open(rogueServices[int(r.byte())%len(rogueServices)], r.byte())
	case doMessage:
		rec := newRecord(kindMessage, 0, uint32(r.byte()), 1)
		rec[0] |= uint64(r.byte()) << 40
		rec.setLocation(location{1, 1, uint64(r.byte()) * 4096, uint64(r.uint16())})
		r.push(rec)
	case doGiveBack:
		r.giveBack(int(r.byte()), int(r.byte()&3))
	case doFrame:
		kind := r.byte()
		_ = r.conn.write(kind, r.bytes(int(r.byte())))
	case doHandles:
		r.handles(r.byte(), int(r.byte()))
	case doWord:
		words := []int{offUpWake, offUpHead, offUpSpace, offDownWake, offDownHead, offDownSpace}
		at := words[int(r.byte())%len(words)]
		r.poke(0, at, le.AppendUint32(nil, r.uint32()))
	case doScribble:
		r.scribble(uint64(r.byte()), int(r.byte()))
	case doPause:
		r.pause(int(r.byte()))
	case doWant:
		_ = r.conn.write(r.byte(), append(le.AppendUint32(nil, r.uint32()), 0, 0, 0, 0)[:4+4*(len(r.program)&1)])
	case doOpenInput:
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if s, err := r.e.Open(ctx, "rogue/x", []byte("hello")); err == nil {
				_ = s.SendBytes(ctx, make([]byte, 9000))
				_ = s.Close()
			}
		}()
	}
}

// poke writes b at an offset of a segment, word by word.
func (r *rogue) poke(segment uint32, at int, b []byte) {
	seg := r.segs[segment]
	if seg == nil || segment > 1 { // the others are mapped for reading
		return
	}
	all := seg.Bytes()
	for ; len(b) >= 4; b, at = b[4:], at+4 {
		wordAt(all, at%len(all)&^3).Store(le.Uint32(b))
	}
}

// push publishes rec as the next record, and rings.
func (r *rogue) push(rec record) {
	seg := r.segs[0]
	if seg == nil {
		return
	}
	up, _ := laneRings(seg.Bytes(), defaultSlots)
	p := producer{ring: up, tail: r.tail}
	rec[0] &^= 1<<32 - 1
	p.push(&rec)
	r.tail = p.tail
	r.conn.hint(frameDoorbell)
}

func (r *rogue) open(service string, flags byte) {
	rec := newRecord(kindOpen, flags&flagTrusted|flags<<5&flagTrusted, r.next, 8)
	rec.setInline(opening{address: service}.encode())
	r.next += 2
	r.push(rec)
}

// giveBack releases what the engine's record number i names, times often.
func (r *rogue) giveBack(i, times int) {
	seg := r.segs[0]
	if seg == nil {
		return
	}
	_, down := laneRings(seg.Bytes(), defaultSlots)
	var got record
	for w := range got {
		got[w] = word64(seg.Bytes(), laneHead+(int(defaultSlots)+i%int(defaultSlots))*recordSize+8*w).Load()
	}
	down.head.Store(uint32(i) + 1)
	for range times {
		rec := newRecord(kindRelease, 0, 0, 0)
		rec.addRelease(got.location())
		r.push(rec)
	}
}

// handles passes some of its own to the engine, where the system lets a companion.
func (r *rogue) handles(kind byte, n int) {
	seg := r.segs[1]
	if seg == nil || runtime.GOOS == "windows" {
		return
	}
	_ = r.conn.write(kind, le.AppendUint32(nil, 1), []grant{share(seg), share(seg), share(seg), share(seg)}[:n%5]...)
}

func (r *rogue) scribble(seed uint64, n int) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	for range n {
		var b [8]byte
		le.PutUint64(b[:], rnd.Uint64())
		r.poke(uint32(rnd.IntN(2)), rnd.IntN(64<<10), b[:])
	}
	r.conn.hint(frameDoorbell)
}

// pause lets the engine work: it looks often whether something has come.
func (r *rogue) pause(n int) {
	for range n {
		runtime.Gosched()
	}
	if n > 128 {
		time.Sleep(time.Duration(n) * time.Microsecond)
	}
}

// TestAFailureFrameLeavesNoHandles: descriptors may come with a frame of any kind.
func TestAFailureFrameLeavesNoHandles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a companion passes no handles there")
	}
	h := &hostility{e: testEngine(t, Options{})}
	usual := resources(t)
	for range 8 {
		r := startRogue(t, h.e, []byte{0, doHandles, frameFailure, 4, doPause, 250})
		r.play(t)
		r.close()
	}
	waitFor(t, func() bool { return len(h.e.Stats().Companions) == 0 && resources(t).files <= usual.files+2 })
}
