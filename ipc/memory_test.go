package ipc

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/shm"
)

// halfModel is what a half looks like to the naive eye: a bool for each unit of each
// extent.
type halfModel struct {
	m     *memory
	used  map[uint32]*naive
	live  map[string]*claim
	count int
}

// claim is an allocation that is held or sent.
type claim struct {
	e         *extent
	at, units int
	sent      *location
}

func newHalf(unit int, sizes ...int) *halfModel {
	h := &halfModel{m: &memory{unit: unit}, used: map[uint32]*naive{}, live: map[string]*claim{}}
	for i := range sizes { // they may come in any order
		number := uint32(len(sizes) - i)
		e := h.m.add(number, shm.HeapSegment(sizes[i]))
		h.used[number] = &naive{make([]bool, len(e.block))}
	}
	return h
}

func (h *halfModel) take(t *rapid.T, n int) {
	units := (n + h.m.unit - 1) / h.m.unit
	e, at, ok := h.m.take(n)
	if !ok {
		for number, model := range h.used {
			if model.place(units) != none {
				t.Fatalf("no room for %d units, but the model has some in extent %d", units, number)
			}
		}
		return
	}
	if !h.used[e.number].fits(at, units) {
		t.Fatalf("%d units at %d of extent %d overlap others", units, at, e.number)
	}
	h.used[e.number].mark(at, units, true)
	h.count++
	h.live[fmt.Sprint(h.count)] = &claim{e: e, at: at, units: units}
}

// free gives a claim back as its holder would, or as the peer if it was sent.
func (h *halfModel) free(t *rapid.T, key string) {
	c := h.live[key]
	if c.sent == nil {
		c.e.held--
		c.e.free(c.at)
	} else {
		if _, session, err := h.m.give(*c.sent); err != nil || session != 7 {
			t.Fatalf("%+v: session %d, %v", *c.sent, session, err)
		}
		if _, _, err := h.m.give(*c.sent); err == nil {
			t.Fatalf("%+v was given back twice", *c.sent)
		}
	}
	h.used[c.e.number].mark(c.at, c.units, false)
	delete(h.live, key)
}

func (h *halfModel) send(c *claim) {
	b := &c.e.block[c.at]
	b.state, b.session = blockSent, 7
	c.e.held--
	c.e.sent++
	c.sent = &location{c.e.number, b.generation, uint64(c.at * h.m.unit), 1}
}

func TestAHalfAgreesWithNaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]int{2048, 4096}).Draw(t, "unit")
		sizes := rapid.SliceOfN(rapid.IntRange(1, 40), 1, 3).Draw(t, "sizes")
		for i := range sizes {
			sizes[i] *= 64 << 10
		}
		h := newHalf(unit, sizes...)
		t.Repeat(map[string]func(*rapid.T){
			"take hot":  func(t *rapid.T) { h.take(t, rapid.IntRange(1, 8*unit).Draw(t, "n")) },
			"take":      func(t *rapid.T) { h.take(t, rapid.IntRange(1, 3<<20).Draw(t, "n")) },
			"free":      func(t *rapid.T) { h.free(t, some(t, h.live)) },
			"free more": func(t *rapid.T) { h.free(t, some(t, h.live)) },
			"send": func(t *rapid.T) {
				if c := h.live[some(t, h.live)]; c.sent == nil {
					h.send(c)
				}
			},
			"shorten": func(t *rapid.T) {
				c := h.live[some(t, h.live)]
				if c.sent != nil {
					t.Skip("it is sent")
				}
				n := rapid.IntRange(1, c.units).Draw(t, "n")
				c.e.shorten(c.at, n)
				h.used[c.e.number].mark(c.at+n, c.units-n, false)
				c.units = n
			},
			"": func(t *rapid.T) {
				used := 0
				for number, model := range h.used {
					free := model.free()
					if e := h.m.find(number); e.used() != len(e.block)-free {
						t.Fatalf("extent %d: %d units in use, model %d", number, e.used(), len(e.block)-free)
					}
					used += len(model.used) - free
				}
				if got := h.m.usage().used; got != used*unit {
					t.Fatalf("%d bytes in use, model %d", got, used*unit)
				}
			},
		})
	})
}

// TestTheUnusedTailIsGivenBack: rounding up to a power of two would waste a third of
// an extent that is filled with parcels of random size.
func TestTheUnusedTailIsGivenBack(t *testing.T) {
	for _, unit := range []int{2048, 4096} {
		h := newHalf(unit, 16<<20)
		payload, n := 0, 5
		for {
			n = (n*7919 + 104729) % (300 << 10)
			if _, _, ok := h.m.take(n + 1); !ok {
				break
			}
			payload += n + 1
		}
		used := h.m.usage().used
		if waste := 1 - float64(payload)/float64(used); waste > 0.03 {
			t.Errorf("unit %d: %.1f %% of what is in use is wasted", unit, 100*waste)
		}
	}
}

// TestBadReleases is what a peer may claim to have read.
func TestBadReleases(t *testing.T) {
	m := &memory{unit: 4096}
	m.add(3, shm.HeapSegment(1<<20))
	e, at, _ := m.take(4 * 4096)
	b := &e.block[at]
	b.state, b.session, e.held, e.sent = blockSent, 9, 0, 1
	free, ahead, _ := m.take(4096) // a hole after it: freed, held, and sent ones
	held, heldAt, _ := m.take(4096)
	free.held--
	free.free(ahead)
	good := location{3, b.generation, uint64(at) * 4096, 4 * 4096}
	for name, bad := range map[string]location{
		"another segment":      {4, good.generation, good.offset, good.length},
		"segment zero":         {0, good.generation, good.offset, good.length},
		"the last segment":     {1<<32 - 1, good.generation, good.offset, good.length},
		"offset past the end":  {3, good.generation, 1 << 20, good.length},
		"huge offset":          {3, good.generation, 1<<64 - 4096, good.length},
		"offset not of a unit": {3, good.generation, good.offset + 1, good.length},
		"inside an allocation": {3, good.generation, good.offset + 4096, good.length},
		"stale":                {3, good.generation - 1, good.offset, good.length},
		"from the future":      {3, good.generation + 1, good.offset, good.length},
		"generation zero":      {3, 0, good.offset, good.length},
		"never allocated":      {3, 0, 1<<20 - 4096, 1},
		"freed":                {3, free.block[ahead].generation, uint64(ahead) * 4096, 4096},
		"held, not sent":       {3, held.block[heldAt].generation, uint64(heldAt) * 4096, 4096},
	} {
		before := e.used()
		if _, session, err := m.give(bad); err == nil {
			t.Errorf("%s: taken back for session %d", name, session)
		}
		if e.used() != before || e.sent != 1 || b.state != blockSent {
			t.Errorf("%s: %d units in use, %d before; %d sent, state %d", name, e.used(), before, e.sent, b.state)
		}
	}
	if _, session, err := m.give(good); err != nil || session != 9 {
		t.Fatalf("session %d, %v", session, err)
	}
	if _, _, err := m.give(good); err == nil || !strings.Contains(err.Error(), "release of generation") {
		t.Errorf("double free: %v", err)
	}
	again, at2, _ := m.take(4 * 4096)
	if again != e || at2 != at {
		t.Fatalf("taken elsewhere: %d", at2)
	}
	again.block[at2].state, again.sent, again.held = blockSent, again.sent+1, again.held-1
	if _, _, err := m.give(good); err == nil {
		t.Error("the location of the one before was taken for this one")
	}
}

// TestBadLocations is what a peer may say about where a message lies.
func TestBadLocations(t *testing.T) {
	l, _ := heapPair(t, 8, testHost{}, testHost{}) // segment 1 is theirs, 2 is ours
	const size = 256 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.theirs[5] = newForeign(5, shm.HeapSegment(size))
	l.theirs[5].forgotten = true
	for name, c := range map[string]struct {
		loc location
		ok  bool
	}{
		"all":                 {location{1, 1, 0, size}, true},
		"the last byte":       {location{1, 1, size - 4096, 4096}, true},
		"nothing":             {location{1, 1, 4096, 0}, true},
		"odd length":          {location{1, 1, 4096, 4097}, true},
		"nothing at the end":  {location{1, 1, size, 0}, false},
		"one too many":        {location{1, 1, 0, size + 1}, false},
		"past the end":        {location{1, 1, size - 4096, 4097}, false},
		"huge length":         {location{1, 1, 4096, 1<<64 - 1}, false},
		"sum that overflows":  {location{1, 1, 4096, 1<<64 - 4096}, false},
		"sum that is zero":    {location{1, 1, 1<<64 - 4096, 4096}, false},
		"huge offset":         {location{1, 1, 1 << 63, 1}, false},
		"misaligned":          {location{1, 1, 8, 8}, false},
		"half a unit":         {location{1, 1, 2048, 8}, false},
		"no segment":          {location{0, 1, 0, 1}, false},
		"not theirs but ours": {location{2, 1, 0, 1}, false},
		"forgotten":           {location{5, 1, 0, 1}, false},
		"unknown":             {location{77, 1, 0, 1}, false},
	} {
		r := located(kindMessage, 1, c.loc)
		b, f, err := l.resolve(&r)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		if uint64(len(b)) != c.loc.length || cap(b) != len(b) || len(b) > 0 && &b[0] != &l.theirs[1].seg.Bytes()[c.loc.offset] {
			t.Errorf("%s: %d bytes, room for %d", name, len(b), cap(b))
		}
		f.leases--
	}
	if n := l.theirs[1].leases; n != 0 {
		t.Errorf("%d leases are left", n)
	}
}

// TestTwoKibibyteUnits runs an engine with the smaller unit.
func TestTwoKibibyteUnits(t *testing.T) {
	for unit, want := range map[int]int{2048: 3 * 2048, 4096: 2 * 4096, 0: 2 * 4096, 1000: 2 * 4096} {
		e := testEngine(t, Options{Unit: unit})
		e.Handle("echo", echo)
		c, ctx := testClient(t, e, "a"), testContext(t)
		s, err := c.Open(ctx, "controller/echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Alloc(ctx, 4097)
		if err != nil {
			t.Fatal(err)
		}
		if used := c.link.mem.usage().used; used != want {
			t.Errorf("unit %d: 4097 bytes take %d", unit, used)
		}
		fill(p.Bytes(), 4)
		m, err := s.Call(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		if m.Bytes()[4096] != byte(4+4096*7&0xff) {
			t.Errorf("unit %d: changed on the way", unit)
		}
		m.Release()
	}
}
