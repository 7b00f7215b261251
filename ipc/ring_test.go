package ipc

import (
	"runtime"
	"testing"

	"berth/internal/shm"
)

func heapLane(slots uint32) (up, down ring) {
	seg := shm.HeapSegment(laneSize(slots))
	formatLane(seg.Bytes(), slots)
	return laneRings(seg.Bytes(), slots)
}

// TestRingKeepsOrder runs both ends over heap memory, where the race detector sees them.
func TestRingKeepsOrder(t *testing.T) {
	up, _ := heapLane(8)
	p, c := producer{ring: up}, consumer{ring: up}
	const total = 50_000
	go func() {
		for i := uint32(0); i < total; {
			room, err := p.room()
			if err != nil {
				panic(err)
			}
			if room == 0 {
				runtime.Gosched()
				continue
			}
			r := newRecord(kindMessage, 0, i, ^i)
			r.setLocation(location{i, i + 1, uint64(i) << 20, 7})
			if i%3 == 1 {
				r = newRecord(kindRelease, 0, i, ^i)
				for n := range i % (maxReleases + 1) {
					r.addRelease(location{segment: i, generation: n, offset: uint64(i) << 30})
				}
			}
			if i%3 == 0 {
				r = newRecord(kindMessage, 0, i, ^i)
				r.setInline([]byte{byte(i), 2, 3, 4, 5, 6, 7, 8, byte(i >> 8)})
			}
			p.push(&r)
			i++
		}
	}()
	for i := uint32(0); i < total; {
		var r record
		if !c.pop(&r) {
			c.advance()
			runtime.Gosched()
			continue
		}
		if r.session() != i || r.argument() != ^i {
			t.Fatalf("record %d says %d, %d", i, r.session(), r.argument())
		}
		if i%3 == 0 {
			b, err := r.inline()
			if err != nil || len(b) != 9 || b[0] != byte(i) || b[8] != byte(i>>8) {
				t.Fatalf("record %d: inline %v, %v", i, b, err)
			}
		} else if i%3 == 1 {
			checkReleases(t, &r, i)
		} else if l := r.location(); l.segment != i || l.generation != i+1 || l.offset != uint64(i)<<20 || l.length != 7 {
			t.Fatalf("record %d: %+v", i, l)
		}
		i++
	}
}

func checkReleases(t *testing.T, r *record, i uint32) {
	t.Helper()
	n, err := r.releases()
	if want := int(i % (maxReleases + 1)); n != want || (err == nil) != (want > 0) {
		t.Fatalf("record %d: %d releases instead of %d, %v", i, n, want, err)
	}
	for k := range n {
		if l := r.released(k); l.segment != i || l.generation != uint32(k) || l.offset != uint64(i)<<30 {
			t.Fatalf("record %d: release %d is %+v", i, k, l)
		}
	}
}

func TestRingRefusesAForgedHead(t *testing.T) {
	up, _ := heapLane(4)
	p := producer{ring: up}
	for range 4 {
		r := newRecord(kindCredit, 0, 1, 1)
		if room, err := p.room(); err != nil || room == 0 {
			t.Fatalf("room %d, %v", room, err)
		}
		p.push(&r)
	}
	if room, err := p.room(); room != 0 || err != nil {
		t.Fatalf("a full ring has room %d, %v", room, err)
	}
	up.head.Store(5)
	if _, err := p.room(); err == nil {
		t.Fatal("a head beyond the tail was believed")
	}
}

func TestRingPositionsWrap(t *testing.T) {
	up, _ := heapLane(2)
	start := ^uint32(0) - 2
	up.head.Store(start)
	p, c := producer{ring: up, tail: start, seen: start}, consumer{ring: up, next: start, stated: start}
	for i := range uint32(8) {
		if room, err := p.room(); err != nil || room == 0 {
			t.Fatalf("at %d: room %d, %v", i, room, err)
		}
		r := newRecord(kindCredit, 0, i, 0)
		p.push(&r)
		var got record
		if !c.pop(&got) || got.session() != i {
			t.Fatalf("at %d: got %v", i, got)
		}
		c.advance()
	}
}
