package ipc

import "math/bits"

// buddy divides a range of units into blocks of a power of two, each aligned to
// its own size, so that the buddy of a block is found by flipping one bit of its
// offset. Taking and giving back are O(log units): there are so many orders, and the
// lowest block of one is found in as many steps as a 64-ary tree is high. It lives
// in the private memory of the side that allocates: nothing a peer writes can reach
// it. Not safe for concurrent use.
type buddy struct {
	units int
	free  int      // units
	order []bitmap // order[k]: free blocks of 1<<k units
	some  uint64   // bit k: there are any in order[k]
}

const none = -1

func newBuddy(units int) *buddy {
	b := &buddy{units: units, order: make([]bitmap, bits.Len(uint(units)))}
	for k := range b.order {
		b.order[k] = newBitmap(units>>k + 1)
	}
	b.release(0, units)
	return b
}

// take finds n units in a row, at the lowest address, and answers where; none
// when there is no such run. Rounding up to a power of two costs nothing lasting:
// the unused tail goes back at once.
func (b *buddy) take(n int) int {
	want := bits.Len(uint(n - 1))
	best, bestOrder := none, 0
	for left := b.some >> want << want; left != 0; left &= left - 1 {
		k := bits.TrailingZeros64(left)
		if at := b.order[k].first() << k; best == none || at < best {
			best, bestOrder = at, k
		}
	}
	if best == none {
		return b.takeEmpty(n)
	}
	b.remove(best, bestOrder)
	b.free -= 1 << bestOrder
	b.release(best+n, best+1<<bestOrder)
	return best
}

// takeEmpty serves from a range with nothing in use what no single block could: a
// range that isn't a power of two long holds more than its largest block.
func (b *buddy) takeEmpty(n int) int {
	if b.free != b.units || n > b.units {
		return none
	}
	for b.some != 0 {
		k := bits.TrailingZeros64(b.some)
		b.remove(b.order[k].first()<<k, k)
	}
	b.free = 0
	b.release(n, b.units)
	return 0
}

// release gives the units from start to end back, block by aligned block.
func (b *buddy) release(start, end int) {
	b.free += end - start
	for start < end {
		k := bits.Len(uint(end-start)) - 1
		if start != 0 {
			k = min(k, bits.TrailingZeros(uint(start)))
		}
		b.join(start, k)
		start += 1 << k
	}
}

// join adds a free block and merges it with its buddy as long as that is free too.
func (b *buddy) join(at, k int) {
	for k+1 < len(b.order) {
		other := at ^ 1<<k
		if other+1<<k > b.units || !b.order[k].has(other>>k) {
			break
		}
		b.remove(other, k)
		at &^= 1 << k
		k++
	}
	b.order[k].set(at >> k)
	b.some |= 1 << k
}

// remove takes a block off the free ones.
func (b *buddy) remove(at, k int) {
	b.order[k].clear(at >> k)
	if b.order[k].empty() {
		b.some &^= 1 << k
	}
}

// largest is the longest run that one take can get, in units.
func (b *buddy) largest() int {
	switch {
	case b.free == b.units:
		return b.units
	case b.some == 0:
		return 0
	}
	return 1 << (bits.Len64(b.some) - 1)
}

// bitmap is a set of small integers that finds its least member in as many steps
// as it has levels: a bit of each level says whether a word of the one below has any.
type bitmap [][]uint64

func newBitmap(n int) bitmap {
	var m bitmap
	for n > 1 || m == nil {
		n = (n + 63) / 64
		m = append(m, make([]uint64, n))
	}
	return m
}

func (m bitmap) has(i int) bool { return m[0][i>>6]&(1<<(i&63)) != 0 }

func (m bitmap) set(i int) {
	for _, words := range m {
		w := &words[i>>6]
		before := *w
		*w |= 1 << (i & 63)
		if before != 0 {
			return
		}
		i >>= 6
	}
}

func (m bitmap) clear(i int) {
	for _, words := range m {
		w := &words[i>>6]
		*w &^= 1 << (i & 63)
		if *w != 0 {
			return
		}
		i >>= 6
	}
}

func (m bitmap) empty() bool { return m[len(m)-1][0] == 0 }

// first is the least member of a set that isn't empty.
func (m bitmap) first() (i int) {
	for l := len(m) - 1; l >= 0; l-- {
		i = i<<6 + bits.TrailingZeros64(m[l][i])
	}
	return i
}
