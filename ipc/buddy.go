package ipc

import "math/bits"

// buddy divides a range of units into blocks of a power of two, each aligned to
// its own size, so that the buddy of a block is found by flipping one bit of its
// offset. It lives in the private memory of the side that allocates: nothing a
// peer writes can reach it. Not safe for concurrent use.
type buddy struct {
	units int
	free  int      // units
	order []bitmap // order[k]: free blocks of 1<<k units
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
	for k := want; k < len(b.order); k++ {
		if i := b.order[k].first(); i != none && (best == none || i<<k < best) {
			best, bestOrder = i<<k, k
		}
	}
	if best == none {
		return b.takeEmpty(n)
	}
	b.order[bestOrder].clear(best >> bestOrder)
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
	for _, blocks := range b.order {
		for i := blocks.first(); i != none; i = blocks.first() {
			blocks.clear(i)
		}
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
		b.order[k].clear(other >> k)
		at &^= 1 << k
		k++
	}
	b.order[k].set(at >> k)
}

// largest is the longest run that one take can get, in units.
func (b *buddy) largest() int {
	for k := len(b.order) - 1; k >= 0; k-- {
		if b.order[k].first() != none {
			return 1 << k
		}
	}
	return 0
}

// bitmap is a set of small integers that finds its least member fast: each bit of
// sum says whether a word has any.
type bitmap struct {
	word, sum []uint64
}

func newBitmap(n int) bitmap {
	words := (n + 63) / 64
	return bitmap{make([]uint64, words), make([]uint64, (words+63)/64)}
}

func (m bitmap) has(i int) bool { return m.word[i>>6]&(1<<(i&63)) != 0 }

func (m bitmap) set(i int) {
	m.word[i>>6] |= 1 << (i & 63)
	m.sum[i>>12] |= 1 << (i >> 6 & 63)
}

func (m bitmap) clear(i int) {
	m.word[i>>6] &^= 1 << (i & 63)
	if m.word[i>>6] == 0 {
		m.sum[i>>12] &^= 1 << (i >> 6 & 63)
	}
}

func (m bitmap) first() int {
	for s, sum := range m.sum {
		if sum != 0 {
			w := s<<6 + bits.TrailingZeros64(sum)
			return w<<6 + bits.TrailingZeros64(m.word[w])
		}
	}
	return none
}
