package ipc

import (
	"testing"

	"berth/internal/mutate"
	"berth/internal/shm"
)

func FuzzRecords(f *testing.F)          { recordsTarget(f, false).Fuzz(f) }
func FuzzRecordsCompanion(f *testing.F) { recordsTarget(f, true).Fuzz(f) }

// Kinds of steps beside records: this end does something of its own.
const (
	stepSend  = 0xf0 + iota // sends argument bytes in a session
	stepHead                // the other side moves the head of its ring
	stepClose               // closes a session
	stepRead                // receives and releases what has come
	stepWrite               // the rest of the record goes into the other side's extent
	stepBring               // a segment comes that is passed to this end
)

// recordsTarget plays a peer that puts any records it likes into the ring, while
// this end sends, receives and closes; and checks that whatever was believed lies
// inside the memory that was agreed on.
func recordsTarget(tb testing.TB, companion bool) mutate.Target {
	tb.Helper()
	end := newFuzzEnd(tb, companion)
	name, theirs, own := "FuzzRecords", uint32(1), uint32(2)
	if companion {
		name, theirs, own = "FuzzRecordsCompanion", 2, 1
	}
	open := newRecord(kindOpen, flagInline, theirs, 8)
	open.setInline(opening{address: "x/y"}.encode())
	step := func(kind uint8, session, argument uint32) record { return newRecord(kind, 0, session, argument) }
	data := newRecord(stepWrite, 0, 0, 0)
	data.setInline(opening{address: "x/y", from: "z", header: []byte("h")}.encode())
	whole := newRecord(kindMessage, flagWhole, theirs, 0)
	whole.setLocation(location{5, 1, 0, 9000})
	return mutate.Target{
		Name: name,
		Seeds: [][]byte{
			script(open, newRecord(kindMessage, flagInline, theirs, 0), step(stepRead, theirs, 0), newRecord(kindClose, flagInline, theirs, 0)),
			script(located(kindMessage, theirs, location{1, 0, 0, 1 << 63}), released(location{2, 1, 4096, 0})),
			script(newRecord(kindOpened, 0, own, 8), newRecord(kindCredit, 0, own, 1<<31), newRecord(99, 0xff, 7, 7)),
			script(open, step(stepSend, theirs, 5000), released(location{2, 1, 0, 5000}), step(stepHead, 2, 0), step(stepClose, theirs, 0)),
			script(data, located(kindOpen, theirs, location{1, 0, 0, 6}), located(kindMessage, theirs, location{1, 0, 4096, 5000}), step(stepRead, theirs, 0)),
			script(open, newRecord(kindStarved, 0, theirs, 0), step(stepSend, theirs, 40), newRecord(kindCredit, 0, theirs, 1), step(stepClose, theirs, 0)),
			script(newRecord(kindOpened, flagTrusted, own, 3), step(stepSend, own, 9000), step(stepSend, own, 9000), released(location{2, 1, 0, 9000})),
			script(open, whole, newRecord(kindMessage, flagInline, theirs, 0), newRecord(kindClose, flagInline, theirs, 0), step(stepBring, 1, 0), step(stepRead, theirs, 0)),
			script(open, located(kindMessage, theirs, location{1, 0, 0, 16 << 10}), located(kindMessage, theirs, location{1, 0, 8192, 100}), step(stepClose, theirs, 0)),
		},
		Run: func(t testing.TB, b []byte) uint64 { return end.play(t, b) },
	}
}

// fuzzEnd is one end of a lane whose other end is the fuzzer. Its memory serves
// one link after the other.
type fuzzEnd struct {
	companion       bool
	lane, up, down  *shm.Segment
	sum             byte
	granted, parted int
	swapped         int // of those that parted, how many for a smaller one
}

func newFuzzEnd(tb testing.TB, companion bool) *fuzzEnd {
	tb.Helper()
	return &fuzzEnd{companion: companion, lane: shm.HeapSegment(laneSize(16)), up: shm.HeapSegment(16 << 10), down: shm.HeapSegment(16 << 10)}
}

// The host of the link: every session is taken, nothing is granted.
func (e *fuzzEnd) open(s *Session, o opening) *closing {
	if len(o.header) > 0 && o.header[0] == 'r' {
		return &closing{closeRefused, "as it asked for"}
	}
	return nil
}
func (e *fuzzEnd) grow(*link, int)   { e.granted++ }
func (e *fuzzEnd) dead(*link, error) {}
func (e *fuzzEnd) parting(_ uint32, _ *shm.Segment, last bool) {
	if e.parted++; last {
		e.swapped++
	}
}

func (e *fuzzEnd) link(t testing.TB) *link {
	clear(e.lane.Bytes()[:laneHead])
	own, _, err := laneEvents()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLink(linkConfig{
		peer: "fuzzer", slots: 16, unit: 4096, window: 3, largest: 16 << 10, whole: 8 << 10, companion: e.companion,
		lane: e.lane.Alias(), events: own, conn: nowhere{}, host: e,
	})
	if err != nil {
		t.Fatal(err)
	}
	l.theirs[1], l.theirs[3] = newForeign(1, e.up.Alias()), newForeign(3, e.up.Alias())
	l.theirs[3].passed = e.companion
	l.mem.add(2, e.down.Alias())
	l.mu.Lock()
	s := l.newSession(l.nextID) // opened and not answered yet
	l.nextID += 2
	s.peer, s.service = "x", "y"
	l.mu.Unlock()
	return l
}

func (e *fuzzEnd) close(l *link) {
	l.lastWords()
	l.fail(ErrClosed)
	l.takeDown()
}

// play handles the records in b; it answers how the first one that was refused
// was, and after how many.
func (e *fuzzEnd) play(t testing.TB, b []byte) (reached uint64) {
	l := e.link(t)
	defer e.close(l)
	kinds := uint64(0)
	for n := uint64(0); len(b) >= recordSize && n < 64; n++ {
		var r record
		for i := range r {
			r[i] = le.Uint64(b[8*i:])
		}
		b = b[recordSize:]
		if r.kind() >= stepSend && r.kind() <= stepWrite {
			e.step(l, &r)
		} else if e.take(l, &r) != nil {
			e.check(t, l)
			return kinds<<8 | min(n, 7)<<1 | 1
		}
		kinds |= 1 << (r.kind() & 31)
	}
	e.check(t, l)
	return kinds << 8
}

// take is what comes from the other side, by either channel.
func (e *fuzzEnd) take(l *link, r *record) error {
	if r.kind() != stepBring {
		return e.handle(l, r)
	}
	number := r.session()%16 + 4
	l.mu.Lock()
	known := l.theirs[number] != nil
	l.mu.Unlock()
	if known || !e.companion {
		return nil
	}
	f := newForeign(number, e.up.Alias())
	f.passed = true
	return l.hold(f)
}

// handle gives the link a record as its leader does.
func (e *fuzzEnd) handle(l *link, r *record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatching = true
	defer func() { l.dispatching = false }()
	return l.handle(r)
}

// step is one of this end's own.
func (e *fuzzEnd) step(l *link, r *record) {
	if r.kind() == stepHead {
		l.tx.head.Store(r.session())
		l.flush()
		return
	}
	if r.kind() == stepWrite {
		copy(e.up.Bytes(), r.body()[:])
		return
	}
	l.mu.Lock()
	s := l.sessions[r.session()]
	l.mu.Unlock()
	if s == nil {
		return
	}
	switch r.kind() {
	case stepSend:
		e.send(l, s, int(r.argument()&(32<<10-1)))
	case stepClose:
		_ = s.Close()
	case stepRead:
		e.drain(l, s)
	}
}

// send is Session.TryAlloc and Send without waiting for a credit.
func (e *fuzzEnd) send(l *link, s *Session, n int) {
	p, err := s.TryAlloc(n)
	if err != nil {
		return
	}
	l.mu.Lock()
	if s.over() != nil || s.credit == 0 {
		l.mu.Unlock()
		p.Release()
		return
	}
	s.credit--
	r := newRecord(kindMessage, 0, s.id, 0)
	l.sealLocked(p, &r, s.id)
	l.post(&r)
	l.mu.Unlock()
}

// drain looks at every byte that it is given.
func (e *fuzzEnd) drain(l *link, s *Session) {
	for {
		l.mu.Lock()
		m, _ := s.next()
		l.mu.Unlock()
		if m == nil {
			return
		}
		for _, c := range m.Bytes() {
			e.sum += c
		}
		m.Release()
	}
}

// check holds the books of l against each other.
func (e *fuzzEnd) check(t testing.TB, l *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	queued := map[*foreign]int{}
	bytes := 0
	for _, s := range l.sessions {
		if s.credit < 0 || s.credit > s.limit || s.pending < 0 || s.pending > l.window+1 {
			t.Errorf("session %d: credit %d of %d, pending %d", s.id, s.credit, s.limit, s.pending)
		}
		for _, m := range s.queue.items[s.queue.head:] {
			if m.from != nil {
				queued[m.from]++
				bytes += len(m.data)
			}
		}
	}
	if l.leased != bytes {
		t.Errorf("%d bytes leased, %d in the queues", l.leased, bytes)
	}
	for segment, s := range l.expected {
		if len(s.parked) == 0 || s.parked[0].location().segment != segment || l.theirs[segment] != nil {
			t.Errorf("session %d waits for segment %d, with %d records", s.id, segment, len(s.parked))
		}
	}
	for _, s := range l.sessions {
		if len(s.parked) > 0 && l.expected[s.parked[0].location().segment] != s {
			t.Errorf("session %d waits for nothing, with %d records", s.id, len(s.parked))
		}
	}
	for _, f := range l.theirs {
		if f.leases != queued[f] {
			t.Errorf("segment %d: %d leases, %d messages", f.number, f.leases, queued[f])
		}
	}
	for _, x := range l.mem.extents {
		held, sent, units := 0, 0, 0
		for _, b := range x.block {
			switch b.state {
			case blockHeld:
				held, units = held+1, units+int(b.units)
			case blockSent:
				sent, units = sent+1, units+int(b.units)
			}
		}
		if held != x.held || sent != x.sent || units != x.used() {
			t.Errorf("extent %d: held %d of %d, sent %d of %d, %d units of %d", x.number, held, x.held, sent, x.sent, units, x.used())
		}
	}
}
