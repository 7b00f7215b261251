package ipc

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naive is the model: one bool per unit, first fit at aligned addresses.
type naive struct{ used []bool }

func (n *naive) fits(at, count int) bool {
	for i := at; i < at+count; i++ {
		if n.used[i] {
			return false
		}
	}
	return true
}

func (n *naive) mark(at, count int, v bool) {
	for i := at; i < at+count; i++ {
		n.used[i] = v
	}
}

// place is the lowest address, aligned to the power of two that holds count units,
// where the whole aligned block is free, or 0 in an empty range: what the buddy system
// promises; none when there is no such place.
func (n *naive) place(count int) int {
	if count <= len(n.used) && n.fits(0, len(n.used)) {
		return 0
	}
	size := 1
	for size < count {
		size *= 2
	}
	for at := 0; at+size <= len(n.used); at += size {
		if n.fits(at, size) {
			return at
		}
	}
	return none
}

func (n *naive) free() (free int) {
	for _, u := range n.used {
		if !u {
			free++
		}
	}
	return free
}

// some draws one of the keys of live; rapid repeats it from its seed.
func some[K cmp.Ordered, V any](t *rapid.T, live map[K]V) K {
	if len(live) == 0 {
		t.Skip("nothing is live")
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(live))).Draw(t, "which")
}

func TestBuddyAgreesWithNaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units := rapid.OneOf(rapid.IntRange(1, 300), rapid.IntRange(4090, 4100)).Draw(t, "units")
		b, model := newBuddy(units), &naive{make([]bool, units)}
		live := map[int]int{}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				n := rapid.IntRange(1, units).Draw(t, "n")
				at := b.take(n)
				if want := model.place(n); at != want {
					t.Fatalf("take(%d) = %d, model says %d", n, at, want)
				}
				if at == none {
					return
				}
				model.mark(at, n, true)
				live[at] = n
			},
			"release": func(t *rapid.T) {
				at := some(t, live)
				b.release(at, at+live[at])
				model.mark(at, live[at], false)
				delete(live, at)
			},
			"": func(t *rapid.T) {
				if free := model.free(); b.free != free {
					t.Fatalf("free %d, model %d", b.free, free)
				}
				if n := b.largest(); n > 0 && model.place(n) == none || n < units && model.place(n+1) != none {
					t.Fatalf("largest %d: the model has room for it: %v, for more: %v", n, model.place(n) != none, model.place(n+1) != none)
				}
			},
		})
	})
}

func TestBuddyCoalescesToTheWhole(t *testing.T) {
	for _, units := range []int{1, 2, 3, 64, 65, 4096, 4097, 100_000} {
		b := newBuddy(units)
		before := b.largest()
		var at []int
		for i := b.take(1); i != none; i = b.take(1) {
			at = append(at, i)
		}
		if len(at) != units || b.free != 0 {
			t.Fatalf("%d units: took %d, %d free", units, len(at), b.free)
		}
		for i := range at { // odd ones first: the worst order
			if j := (i*2 + 1) % (units | 1); j < units {
				b.release(at[j], at[j]+1)
				at[j] = -1
			}
		}
		for _, a := range at {
			if a >= 0 {
				b.release(a, a+1)
			}
		}
		if b.free != units || b.largest() != before {
			t.Fatalf("%d units: %d free, largest %d, want %d", units, b.free, b.largest(), before)
		}
	}
}

func BenchmarkBuddyTakeRelease(b *testing.B) {
	m := newBuddy(4096)
	m.take(1)
	for b.Loop() {
		at := m.take(3)
		m.release(at, at+3)
	}
}

// BenchmarkBuddy shows that the cost of an allocation grows with the logarithm of the
// extent at most, however full it is: units are of 4 KiB, so 1<<20 are 4 GiB.
func BenchmarkBuddy(b *testing.B) {
	for _, units := range []int{1 << 8, 1 << 12, 1 << 16, 1 << 20} {
		for _, full := range []int{0, 50, 99} {
			b.Run(fmt.Sprintf("units=%d/full=%d%%", units, full), func(b *testing.B) {
				m := fragmented(units, full)
				for b.Loop() {
					at := m.take(1)
					m.release(at, at+1)
				}
			})
		}
	}
}

// fragmented is a range with that share of its units in use, spread evenly.
func fragmented(units, full int) *buddy {
	m := newBuddy(units)
	for m.take(1) != none { // each unit on its own
	}
	for i := range units {
		if i%100 >= full {
			m.release(i, i+1)
		}
	}
	return m
}
