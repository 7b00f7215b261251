package ipc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

// Version is the layout of everything that engine and companion share.
const Version = 3

const (
	magicHello     = "BERTHIPC"
	magicDirectory = "BERTHDIR"
	magicLane      = "BERTHLNE"

	recordSize  = 128
	maxInline   = recordSize - 16
	maxReleases = maxInline / 16 // in one record
	maxName     = 64
	maxHeader   = 64 << 10
	maxOpening  = 2*(1+255) + maxHeader
)

// Kinds of records.
const (
	kindOpen = 1 + iota
	kindOpened
	kindMessage
	kindRelease
	kindCredit
	kindClose
	kindStarved
)

// Flags of records.
const (
	flagRequest = 1 << iota
	flagReply
	flagEnd
	flagInline
	flagWhole
	flagTrusted
)

// record is one slot of a ring, as native words of a little-endian machine.
type record [recordSize / 8]uint64

// location says where a payload lies: never an address.
type location struct {
	segment    uint32
	generation uint32
	offset     uint64
	length     uint64
}

func newRecord(kind, flags uint8, session, argument uint32) record {
	return record{uint64(kind)<<32 | uint64(flags)<<40, uint64(session) | uint64(argument)<<32}
}

func (r *record) kind() uint8      { return uint8(r[0] >> 32) }
func (r *record) flags() uint8     { return uint8(r[0] >> 40) }
func (r *record) session() uint32  { return uint32(r[1]) }
func (r *record) argument() uint32 { return uint32(r[1] >> 32) }

func (r *record) location() location {
	return location{uint32(r[2]), uint32(r[2] >> 32), r[3], r[4]}
}

func (r *record) setLocation(l location) {
	r[2] = uint64(l.segment) | uint64(l.generation)<<32
	r[3], r[4] = l.offset, l.length
}

// addRelease lists one more allocation in a release record; it says how many there are now.
func (r *record) addRelease(l location) int {
	n := r.bodySize() / 16
	r[2+2*n] = uint64(l.segment) | uint64(l.generation)<<32
	r[3+2*n] = l.offset
	r[0] += 16 << 48
	return n + 1
}

// releases is how many allocations a copied release record lists.
func (r *record) releases() (int, error) {
	n := r.bodySize()
	if n == 0 || n > maxInline || n%16 != 0 {
		return 0, fmt.Errorf("a release with %d bytes of list", n)
	}
	return n / 16, nil
}

func (r *record) released(i int) location {
	return location{segment: uint32(r[2+2*i]), generation: uint32(r[2+2*i] >> 32), offset: r[3+2*i]}
}

// bodySize is the length of inline data or of a list of releases, as the record claims it.
func (r *record) bodySize() int { return int(r[0] >> 48) }

// words is how many words of the record mean something.
func (r *record) words() int {
	if r.kind() == kindRelease || r.flags()&flagInline != 0 {
		return min(len(r), 2+(r.bodySize()+7)/8)
	}
	return 5
}

// setInline puts data (at most maxInline bytes) into the record itself.
func (r *record) setInline(data []byte) {
	n := copy(r.body()[:], data)
	r[0] |= uint64(flagInline)<<40 | uint64(n)<<48
}

// inline is the data in a copied record; a length out of range is an error.
func (r *record) inline() ([]byte, error) {
	n := r.bodySize()
	if n > maxInline {
		return nil, fmt.Errorf("%d inline bytes in a record", n)
	}
	return r.body()[:n], nil
}

func (r *record) body() *[maxInline]byte {
	// SAFETY: the words from 2 on are maxInline bytes of r, which outlives the pointer.
	return (*[maxInline]byte)(unsafe.Pointer(&r[2]))
}

// opening is the body of an open record.
type opening struct {
	address string
	from    string
	header  []byte
	trusted bool // in the flags of the record
	relayed bool // never sent: who opens it will join it to a session of another companion
}

func (o opening) encode() []byte {
	b := make([]byte, 0, 2+len(o.address)+len(o.from)+len(o.header))
	b = append(append(b, byte(len(o.address))), o.address...)
	b = append(append(b, byte(len(o.from))), o.from...)
	return append(b, o.header...)
}

// decodeOpening copies everything out of b, which may be shared memory.
func decodeOpening(b []byte) (opening, error) {
	if len(b) > maxOpening {
		return opening{}, fmt.Errorf("an opening of %d bytes", len(b))
	}
	b = append([]byte(nil), b...)
	address, rest, ok := cutShort(b)
	from, header, ok2 := cutShort(rest)
	if !ok || !ok2 {
		return opening{}, errors.New("a cut-off opening")
	}
	return opening{address: string(address), from: string(from), header: header}, nil
}

// cutShort takes a string with its length in one byte off the front.
func cutShort(b []byte) (head, rest []byte, ok bool) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}

// splitAddress checks "name/service".
func splitAddress(address string) (name, service string, err error) {
	name, service, _ = strings.Cut(address, "/")
	if !validName(name) || !validName(service) {
		return "", "", fmt.Errorf("%w: %q is not name/service with 1 to 64 of [a-zA-Z0-9._-] each", ErrAddress, address)
	}
	return name, service, nil
}

// companionName says why no companion can have that name.
func companionName(s string) error {
	if !validName(s) || s == Controller {
		return fmt.Errorf("%w: %q can't be a companion's name: 1 to 64 of [a-zA-Z0-9._-], not %q", ErrAddress, s, Controller)
	}
	return nil
}

// mustBeService panics for a service that nobody could open.
func mustBeService(s string) {
	if !validName(s) {
		panic(fmt.Sprintf("ipc: %q can't be a service: 1 to 64 of [a-zA-Z0-9._-]", s))
	}
}

func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= maxName
}

var le = binary.LittleEndian
