package transfer

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"os"
)

// A progress record says how much of an item was handed to the server, and the
// state of its SHA-256 there. It is written by pwrite after every piece and
// never synced: after a power cut an older one, or none, costs sending again and
// nothing else. It is a ring of 32 slots of 256 bytes, so that a torn write
// leaves the older ones, and a server that lost its last bytes still finds a
// hash state to go on from. A slot, all numbers little endian:
//
//	0   4    magic "BPR2"
//	4   8    sequence, from 1; the slot is sequence mod 32
//	12  8    offset: bytes handed over in full
//	20  8    tried: bytes that may have been handed over, at most
//	28  8    resent: bytes sent more than once so far
//	36  8    confirmed: bytes that the server said it holds, when it was last asked
//	44  108  SHA-256 state at offset (encoding.BinaryMarshaler)
//	152 4    CRC-32C of all before
const (
	slotSize    = 256
	slotUsed    = 156
	slotCount   = 32
	slotMagic   = "BPR2"
	hashState   = 108
	progressLen = slotSize * slotCount
)

// mark is the content of a slot.
type mark struct {
	offset, tried, resent, confirmed int64

	state [hashState]byte
}

// progress is the open record of one item. Only its uploader uses it.
type progress struct {
	f     *os.File
	seq   uint64
	marks []mark // newest first
}

// openProgress opens or creates the record at path; whatever is not a valid
// slot is as if it were not there.
func openProgress(path string) (*progress, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	b := make([]byte, progressLen)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		f.Close()
		return nil, err
	}
	p := &progress{f: f}
	p.seq, p.marks = decodeProgress(b[:n])
	return p, nil
}

// decodeProgress answers the valid slots, newest first, and the last sequence.
// A slot counts only together with an unbroken line to the newest.
func decodeProgress(b []byte) (uint64, []mark) {
	var slots [slotCount]struct {
		seq uint64
		m   mark
	}
	var last uint64
	for i := range slots {
		if lo := i * slotSize; lo+slotUsed <= len(b) {
			if seq, m, ok := decodeSlot(b[lo : lo+slotUsed]); ok && seq%slotCount == uint64(i) {
				slots[i].seq, slots[i].m = seq, m
				last = max(last, seq)
			}
		}
	}
	var marks []mark
	for seq := last; seq > 0 && last-seq < slotCount; seq-- {
		if s := slots[seq%slotCount]; s.seq == seq {
			marks = append(marks, s.m)
		}
	}
	return last, marks
}

func decodeSlot(b []byte) (seq uint64, m mark, ok bool) {
	sum := crc32.Checksum(b[:slotUsed-4], crc32.MakeTable(crc32.Castagnoli))
	if string(b[:4]) != slotMagic || binary.LittleEndian.Uint32(b[slotUsed-4:]) != sum {
		return 0, m, false
	}
	seq = binary.LittleEndian.Uint64(b[4:])
	m.offset = int64(binary.LittleEndian.Uint64(b[12:]))
	m.tried = int64(binary.LittleEndian.Uint64(b[20:]))
	m.resent = int64(binary.LittleEndian.Uint64(b[28:]))
	m.confirmed = int64(binary.LittleEndian.Uint64(b[36:]))
	copy(m.state[:], b[44:])
	ok = seq > 0 && m.offset >= 0 && m.tried >= m.offset && m.resent >= 0 && m.confirmed >= 0 && m.confirmed <= m.offset
	return seq, m, ok
}

func encodeSlot(seq uint64, m mark) []byte {
	b := make([]byte, 0, slotUsed)
	b = append(b, slotMagic...)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.offset))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.tried))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.resent))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.confirmed))
	b = append(b, m.state[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// add writes the next slot.
func (p *progress) add(m mark) error {
	p.seq++
	_, err := p.f.WriteAt(encodeSlot(p.seq, m), int64(p.seq%slotCount)*slotSize)
	if err != nil {
		return err
	}
	p.marks = append([]mark{m}, p.marks[:min(len(p.marks), slotCount-1)]...)
	return nil
}

// last is the newest mark, zero when there is none.
func (p *progress) last() mark {
	if len(p.marks) == 0 {
		return mark{}
	}
	return p.marks[0]
}

// at answers the newest mark that is not beyond offset; ok is false when the
// hash has to start from the first byte.
func (p *progress) at(offset int64) (mark, bool) {
	for _, m := range p.marks {
		if m.offset <= offset {
			return m, true
		}
	}
	return mark{}, false
}

// reset forgets everything but how many bytes were sent again: the object
// starts anew. The old slots may survive a power cut, which the prefix check sees.
func (p *progress) reset(resent int64) error {
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	p.marks = nil
	m := mark{resent: resent}
	m.state = saveHash(sha256.New())
	return p.add(m)
}

func (p *progress) close() error { return p.f.Close() }

func saveHash(h hash.Hash) (state [hashState]byte) {
	b, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil || len(b) != hashState {
		panic("transfer: the state of SHA-256 has another size than 108 bytes") // a new Go would have changed it: tests fail first
	}
	copy(state[:], b)
	return state
}

func loadHash(state [hashState]byte) (hash.Hash, error) {
	h := sha256.New()
	return h, h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state[:])
}
