package mutate

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// mutator makes inputs from inputs. What next answers is overwritten by the next
// call.
type mutator struct {
	rnd  *rand.Rand
	pool [][]byte
	buf  []byte
}

func newMutator(seed uint64, seeds [][]byte) *mutator {
	m := &mutator{rnd: newSource(seed), buf: make([]byte, 0, maxInput)}
	for _, s := range seeds {
		m.keep(s)
	}
	if len(m.pool) == 0 {
		m.keep(nil)
	}
	return m
}

// keep adds an input to those that later ones are made from.
func (m *mutator) keep(b []byte) {
	if len(b) <= maxInput {
		m.pool = append(m.pool, bytes.Clone(b))
	}
}

// next is a known input with one to eight changes.
func (m *mutator) next() []byte {
	m.buf = append(m.buf[:0], m.pool[m.rnd.IntN(len(m.pool))]...)
	for range 1 << m.rnd.IntN(4) {
		m.change()
	}
	return m.buf
}

func (m *mutator) change() {
	n := len(m.buf)
	if n == 0 {
		m.insert()
		return
	}
	at := m.rnd.IntN(n)
	switch m.rnd.IntN(11) {
	case 0:
		m.buf[at] ^= 1 << m.rnd.IntN(8)
	case 1:
		m.buf[at] = byte(m.rnd.Uint32())
	case 2:
		m.buf[at] += byte(m.rnd.IntN(33) - 16)
	case 3:
		m.number(at)
	case 4:
		m.insert()
	case 5: // cut something out
		end := min(n, at+1+m.rnd.IntN(16))
		m.buf = append(m.buf[:at], m.buf[end:]...)
	case 6: // repeat a part elsewhere
		end := min(n, at+1+m.rnd.IntN(64))
		copy(m.buf[m.rnd.IntN(n):], m.buf[at:end])
	case 7: // from another input
		other := m.pool[m.rnd.IntN(len(m.pool))]
		if len(other) > 0 {
			from := m.rnd.IntN(len(other))
			copy(m.buf[at:], other[from:])
		}
	case 8: // cut off
		if m.rnd.IntN(8) == 0 {
			m.buf = m.buf[:at]
		}
	case 9:
		m.repeatAligned()
	case 10: // two aligned parts change places
		size := 8 << m.rnd.IntN(4)
		if n >= 2*size {
			var part [64]byte
			a, b := m.rnd.IntN(n/size)*size, m.rnd.IntN(n/size)*size
			copy(part[:size], m.buf[a:])
			copy(m.buf[a:a+size], m.buf[b:])
			copy(m.buf[b:b+size], part[:size])
		}
	}
}

// repeatAligned inserts a copy of an aligned part before an aligned part: one more
// record of a kind that there is.
func (m *mutator) repeatAligned() {
	var part [64]byte
	size := 8 << m.rnd.IntN(4)
	n := len(m.buf) / size
	if n == 0 || len(m.buf)+size > maxInput {
		return
	}
	copy(part[:size], m.buf[m.rnd.IntN(n)*size:])
	at := m.rnd.IntN(n+1) * size
	m.buf = append(m.buf, part[:size]...)
	copy(m.buf[at+size:], m.buf[at:])
	copy(m.buf[at:], part[:size])
}

// odd are the numbers at which programs break.
var odd = [...]uint64{0, 1, 2, 7, 8, 47, 48, 49, 63, 64, 65, 127, 128, 255, 256, 1023, 1024, 4095, 4096, 4097, 8192, 32767, 32768,
	65535, 65536, 1<<20 - 1, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<40 + 1, 1<<63 - 1, 1 << 63, 1<<64 - 4096, 1<<64 - 1}

// number writes an odd number, or one near to what is there, over 1 to 8 bytes.
func (m *mutator) number(at int) {
	var b [8]byte
	size := min(1<<m.rnd.IntN(4), len(m.buf)-at)
	copy(b[:], m.buf[at:at+size])
	v := binary.LittleEndian.Uint64(b[:])
	switch m.rnd.IntN(3) {
	case 0:
		v = odd[m.rnd.IntN(len(odd))]
	case 1:
		v += uint64(m.rnd.IntN(17)) - 8
	case 2:
		v = m.rnd.Uint64() >> m.rnd.IntN(64)
	}
	binary.LittleEndian.PutUint64(b[:], v)
	copy(m.buf[at:at+size], b[:])
}

// insert puts a few bytes in: new ones, or some of another input.
func (m *mutator) insert() {
	var some [64]byte
	n := 1 + m.rnd.IntN(16)
	if other := m.pool[m.rnd.IntN(len(m.pool))]; len(other) > 0 && m.rnd.IntN(2) == 0 {
		n = copy(some[:], other[m.rnd.IntN(len(other)):])
	} else {
		for i := range n {
			some[i] = byte(m.rnd.Uint32())
		}
	}
	if len(m.buf)+n > maxInput {
		return
	}
	at := m.rnd.IntN(len(m.buf) + 1)
	m.buf = append(m.buf, some[:n]...)
	copy(m.buf[at+n:], m.buf[at:])
	copy(m.buf[at:], some[:n])
}
