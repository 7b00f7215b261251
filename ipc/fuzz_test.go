package ipc

import (
	"bytes"
	"context"
	"math/bits"
	"strings"
	"testing"
	"unicode/utf8"

	"berth/internal/mutate"
	"berth/internal/shm"
)

// Each parser of foreign bytes has a target here: for coverage under go test -fuzz,
// and for numbers under TestFuzzLoop.

func FuzzFrame(f *testing.F)        { frameTarget().Fuzz(f) }
func FuzzHello(f *testing.F)        { helloTarget().Fuzz(f) }
func FuzzRefusal(f *testing.F)      { refusalTarget().Fuzz(f) }
func FuzzWelcome(f *testing.F)      { welcomeTarget().Fuzz(f) }
func FuzzExtent(f *testing.F)       { extentTarget().Fuzz(f) }
func FuzzNumbers(f *testing.F)      { numbersTarget().Fuzz(f) }
func FuzzOpening(f *testing.F)      { openingTarget().Fuzz(f) }
func FuzzAddress(f *testing.F)      { addressTarget().Fuzz(f) }
func FuzzLocation(f *testing.F)     { locationTarget(f).Fuzz(f) }
func FuzzRing(f *testing.F)         { ringTarget().Fuzz(f) }
func FuzzDirectory(f *testing.F)    { directoryTarget().Fuzz(f) }
func FuzzCacheRequest(f *testing.F) { cacheTarget(f).Fuzz(f) }

// TestFuzzLoop runs every parser as often as BERTH_FUZZ_EXECS says.
func TestFuzzLoop(t *testing.T) {
	mutate.Loop(t, frameTarget(), helloTarget(), refusalTarget(), welcomeTarget(), extentTarget(), numbersTarget(),
		openingTarget(), addressTarget(), locationTarget(t), ringTarget(), directoryTarget(), cacheTarget(t),
		recordsTarget(t, false), recordsTarget(t, true))
}

// frameTarget reads a control stream to its first fault.
func frameTarget() mutate.Target {
	frameOf := func(kind uint8, handles int, body []byte) []byte {
		h := encodeHead(kind, handles, len(body))
		return append(h[:], body...)
	}
	return mutate.Target{
		Name:  "FuzzFrame",
		Seeds: [][]byte{frameOf(frameDoorbell, 0, nil), append(frameOf(frameMapped, 0, []byte{1, 0, 0, 0}), frameOf(frameWelcome, 4, make([]byte, 56))...)},
		Run: func(t testing.TB, b []byte) uint64 {
			r, head := bytes.NewReader(b), [frameHead]byte{}
			for n := uint64(0); ; n++ {
				at := len(b) - r.Len()
				f, handles, err := readFrame(r, &head)
				if err != nil {
					return min(n, 8)
				}
				if again := frameOf(f.kind, handles, f.body); !bytes.Equal(again, b[at:len(b)-r.Len()]) || handles > maxHandles || len(f.body) > maxFrame {
					t.Errorf("frame %+v with %d handles was made from %x", f, handles, b[at:])
				}
			}
		},
	}
}

func helloTarget() mutate.Target {
	return mutate.Target{
		Name:  "FuzzHello",
		Seeds: [][]byte{hello{version: Version, pid: 1, outgoing: 1, incoming: 2, name: "outlook"}.encode(), hello{version: Version + 1}.encode()},
		Run: func(t testing.TB, b []byte) uint64 {
			h, err := decodeHello(b)
			switch {
			case err != nil:
				return 0
			case h.version != Version:
				return 1
			}
			o := Options{Budget: 1 << 30}.withDefaults()
			out, in := startSize(h.outgoing, o.Outgoing, o, o.Budget), startSize(h.incoming, o.Incoming, o, 0)
			if out <= 0 || out > maxExtent || in <= 0 || in > maxExtent || !validName(h.name) {
				t.Errorf("hello %+v: halves of %d and %d bytes", h, out, in)
			}
			if b[10]|b[11] == 0 && !bytes.Equal(h.encode(), b) {
				t.Errorf("hello %+v was made from %x", h, b)
			}
			return 2 + uint64(len(h.name))
		},
	}
}

func refusalTarget() mutate.Target {
	return mutate.Target{
		Name:  "FuzzRefusal",
		Seeds: [][]byte{refusal{1, 2, "no"}.encode(), refusal{2, 1, strings.Repeat("long ", 200)}.encode()},
		Run: func(t testing.TB, b []byte) uint64 {
			err := refusedBy(b)
			if err == nil || len(err.Error()) > 1024 {
				t.Errorf("a refusal became %v", err)
			}
			return uint64(min(len(b), 5))
		},
	}
}

func welcomeTarget() mutate.Target {
	return mutate.Target{
		Name:  "FuzzWelcome",
		Seeds: [][]byte{welcome{version: Version, slots: 256, unit: 4096, window: 64, directory: directorySize, lane: 36864, largest: 1}.encode()},
		Run: func(t testing.TB, b []byte) uint64 {
			w, err := decodeWelcome(b)
			if err != nil {
				return 0
			}
			if w.lane < uint64(laneSize(w.slots)) || w.slots > maxSlots || w.directory < directorySize || w.unit < minUnit || w.window == 0 {
				t.Errorf("welcome %+v was believed", w)
			}
			return uint64(w.slots)
		},
	}
}

func extentTarget() mutate.Target {
	return mutate.Target{
		Name:  "FuzzExtent",
		Seeds: [][]byte{extentFrame{1, outgoing, 4096}.encode(), extentFrame{1 << 31, passed, 1 << 40}.encode()},
		Run: func(t testing.TB, b []byte) uint64 {
			e, err := decodeExtent(b)
			if err != nil {
				return 0
			}
			if !bytes.Equal(e.encode(), b) || e.half > passed || e.segment == 0 || e.size == 0 {
				t.Errorf("extent %+v was made from %x", e, b)
			}
			return 1 + uint64(e.half)
		},
	}
}

// numbersTarget covers mapped, want, denied and forget.
func numbersTarget() mutate.Target {
	return mutate.Target{
		Name:  "FuzzNumbers",
		Seeds: [][]byte{{1, 2, 3, 4}, {1, 2, 3, 4, 5, 6, 7, 8}},
		Run: func(t testing.TB, b []byte) uint64 {
			n, err := decodeUint32(b)
			m, err2 := decodeUint64(b)
			if err == nil && !bytes.Equal(le.AppendUint32(nil, n), b) || err2 == nil && !bytes.Equal(le.AppendUint64(nil, m), b) {
				t.Errorf("%x was read as %d, %d", b, n, m)
			}
			return uint64(min(len(b), 9))
		},
	}
}

func openingTarget() mutate.Target {
	return mutate.Target{
		Name:  "FuzzOpening",
		Seeds: [][]byte{opening{address: "a/b", from: "c", header: []byte("h")}.encode(), opening{address: strings.Repeat("a", 255)}.encode()},
		Run: func(t testing.TB, b []byte) uint64 {
			o, err := decodeOpening(b)
			if err != nil {
				return 0
			}
			if !bytes.Equal(o.encode(), b) {
				t.Errorf("opening %+v was made from %x", o, b)
			}
			return 1 + uint64(bits.Len(uint(len(o.address))))<<8 + uint64(bits.Len(uint(len(o.from))))
		},
	}
}

func addressTarget() mutate.Target {
	return mutate.Target{
		Name:  "FuzzAddress",
		Seeds: [][]byte{[]byte("controller/package"), []byte("a.b-c_d/" + strings.Repeat("x", 64)), []byte("a/b/c"), []byte("ä/\x00")},
		Run: func(t testing.TB, b []byte) uint64 {
			address := string(b)
			name, service, err := splitAddress(address)
			if err != nil {
				return 0
			}
			if name+"/"+service != address || len(name) > maxName || len(service) > maxName || strings.ContainsAny(name+service, "/\\\x00 \n") || !utf8.ValidString(address) {
				t.Errorf("%q became %q and %q", address, name, service)
			}
			return 1 + uint64(bits.Len(uint(len(name))))<<8 + uint64(bits.Len(uint(len(service))))
		},
	}
}

// locationTarget resolves locations of both halves: in the other side's extent, and
// as a release of the own one.
func locationTarget(tb testing.TB) mutate.Target {
	tb.Helper()
	const size = 16 << 10
	theirs := newForeign(1, shm.HeapSegment(size))
	own := memory{unit: 4096}
	e := own.add(2, shm.HeapSegment(size))
	seed := func(l location) []byte {
		r := located(kindMessage, 1, l)
		return script(r)[16:40]
	}
	return mutate.Target{
		Name: "FuzzLocation",
		Seeds: [][]byte{seed(location{1, 0, 4096, 100}), seed(location{2, 1, 0, 0}), seed(location{2, 1, 4096, 0}),
			seed(location{1, 0, 0, 1 << 63}), seed(location{1, 0, 1<<64 - 4096, 4096}), seed(location{1, 0, 12288, 4096})},
		Run: func(t testing.TB, b []byte) (reached uint64) {
			var raw [24]byte
			copy(raw[:], b)
			l := location{le.Uint32(raw[:]), le.Uint32(raw[4:]), le.Uint64(raw[8:]), le.Uint64(raw[16:])}
			if got, err := theirs.slice(l, 4096); err == nil {
				all := theirs.seg.Bytes()
				if uint64(len(got)) != l.length || l.offset+l.length > size || cap(got) != len(got) || len(got) > 0 && &got[0] != &all[l.offset] {
					t.Errorf("%+v became %d bytes", l, len(got))
				}
				reached = 1 + l.offset>>12
			}
			for len(e.block) > 0 && e.sent < 2 { // two allocations are always under way
				at := e.take(1)
				e.block[at].state = blockSent
				e.held, e.sent = e.held-1, e.sent+1
				if e.block[at].generation > 3 { // few generations, so that some are hit
					e.block[at].generation = 1
				}
			}
			sent, generations := e.sent, [4]uint32{}
			for i := range e.block {
				generations[i] = e.block[i].generation
			}
			if got, _, err := own.give(l); err == nil {
				if got != e || generations[l.offset>>12&3] != l.generation || e.sent != sent-1 || l.segment != 2 || l.offset%4096 != 0 || l.offset >= size {
					t.Errorf("the release of %+v was believed", l)
				}
				reached |= 64
			} else if e.sent != sent {
				t.Errorf("the release of %+v was refused, and done: %v", l, err)
			}
			return reached
		},
	}
}

// ringTarget lets foreign bytes be a ring: its slots and its words.
func ringTarget() mutate.Target {
	lane := shm.HeapSegment(laneSize(2))
	up, _ := laneRings(lane.Bytes(), 2)
	good := newRecord(kindMessage, flagInline, 1, 7)
	good.setInline([]byte("hello"))
	good[0] |= 1
	return mutate.Target{
		Name:  "FuzzRing",
		Seeds: [][]byte{append([]byte{1, 0, 0, 0}, script(good)...), append([]byte{2, 0, 0, 0}, script(good, good)...), {3, 0, 0, 0}},
		Run: func(t testing.TB, b []byte) (reached uint64) {
			words := make([]byte, 4+2*recordSize)
			copy(words, b)
			copy(lane.Bytes()[laneHead:], words[4:])
			up.head.Store(le.Uint32(words))
			c := consumer{ring: up}
			var r record
			for c.pop(&r) && reached < 8 { // as often as its turns agree
				reached++
				in, err := r.inline()
				if err == nil && len(in) > maxInline || err != nil && r[0]>>48 <= maxInline {
					t.Errorf("%d inline bytes, %v", len(in), err)
				}
			}
			p := producer{ring: up, tail: 2, seen: 0}
			room, err := p.room()
			if err == nil && room > 2 || err == nil && up.head.Load() > 2 {
				t.Errorf("head %d was believed: room for %d", up.head.Load(), room)
			}
			if err == nil {
				reached |= 16 << room
			}
			return reached
		},
	}
}

// directoryTarget reads an entry as a companion does.
func directoryTarget() mutate.Target {
	dir := shm.HeapSegment(directoryEntry)
	entry := make([]byte, directoryEntry)
	entry[4] = entryRegistered
	entry[40] = 7
	copy(entry[48:], "outlook")
	odd := bytes.Clone(entry)
	odd[0] = 1
	return mutate.Target{
		Name:  "FuzzDirectory",
		Seeds: [][]byte{entry, odd, {}},
		Run: func(t testing.TB, b []byte) uint64 {
			e := dir.Bytes()[:directoryEntry]
			clear(e[copy(e, b):])
			got, ok := readEntry(e)
			if !ok {
				return 0
			}
			if len(got.Name) > maxName || le.Uint32(e) != 0 && e[0]&1 != 0 || le.Uint32(e[4:]) != entryRegistered {
				t.Errorf("%+v was read from %x", got, e)
			}
			return 1 + uint64(len(got.Name))
		},
	}
}

// cacheTarget asks the cache with any header. Nobody sends the bytes to retain, and
// nothing is kept: what is tested is the request.
func cacheTarget(tb testing.TB) mutate.Target {
	tb.Helper()
	end := newFuzzEnd(tb, false)
	e := &Engine{cache: &cache{budget: 8192, kept: map[string]*keptPayload{}}}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	link := end.link(tb)
	return mutate.Target{
		Name: "FuzzCacheRequest",
		Seeds: [][]byte{[]byte(`{"op":"retain","name":"a","bytes":4096}`), []byte(`{"op":"fetch","name":"a"}`), []byte(`{"op":"forget","name":"a"}`),
			[]byte(`{"op":"list"}`), []byte(`{"op":"retain","name":"../a","bytes":-1}`), []byte(`[{"op":1e99}]`)},
		Run: func(t testing.TB, b []byte) uint64 {
			if link.nextID > 1<<20 {
				end.close(link)
				link = end.link(t)
			}
			link.mu.Lock()
			s := link.newSession(link.nextID)
			link.nextID += 2
			s.header, s.peer, s.credit, s.limit = b, "fuzzer", 1, 1
			link.mu.Unlock()
			e.serveCache(ctx, s)
			_ = s.Close()
			link.mu.Lock()
			defer link.mu.Unlock()
			delete(link.sessions, s.id)
			link.txMu.Lock()
			link.backlog = link.backlog[:0] // nobody reads the ring
			link.txMu.Unlock()
			if len(e.cache.kept) > 0 || e.cache.used != 0 {
				t.Errorf("%q was kept", b)
			}
			if i := bytes.Index(b, []byte(`"op":"`)); i >= 0 && len(b) > i+6 {
				return uint64(b[i+6])
			}
			return 0
		},
	}
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
