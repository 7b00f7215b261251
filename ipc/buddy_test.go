package ipc

import (
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

// anywhere says whether count units fit at an address aligned to the power of
// two that holds them, with the whole aligned block free, or in an empty range: what
// the buddy system promises.
func (n *naive) anywhere(count int) bool {
	if n.fits(0, len(n.used)) {
		return count <= len(n.used)
	}
	size := 1
	for size < count {
		size *= 2
	}
	for at := 0; at+size <= len(n.used); at += size {
		if n.fits(at, size) {
			return true
		}
	}
	return false
}

func TestBuddyAgreesWithNaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units := rapid.IntRange(1, 300).Draw(t, "units")
		b, model := newBuddy(units), &naive{make([]bool, units)}
		live := map[int]int{}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				n := rapid.IntRange(1, units).Draw(t, "n")
				possible := model.anywhere(n)
				at := b.take(n)
				if (at != none) != possible {
					t.Fatalf("take(%d) = %d, model says %v", n, at, possible)
				}
				if at == none {
					return
				}
				if !model.fits(at, n) {
					t.Fatalf("take(%d) = %d overlaps", n, at)
				}
				model.mark(at, n, true)
				live[at] = n
			},
			"release": func(t *rapid.T) {
				for at, n := range live {
					b.release(at, at+n)
					model.mark(at, n, false)
					delete(live, at)
					return
				}
				t.Skip("nothing is live")
			},
			"": func(t *rapid.T) {
				free := 0
				for _, u := range model.used {
					if !u {
						free++
					}
				}
				if b.free != free {
					t.Fatalf("free %d, model %d", b.free, free)
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
