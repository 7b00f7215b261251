package transfer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt maps its file and trusts it: a damaged one makes it fault or run in
// circles in a goroutine of its own, where nobody can recover. So every page
// that it may follow is checked here first, by plain reads. The layout, all
// numbers in the byte order of the machine (little endian wherever we run):
//
//	page    id 8, flags 2, count 2, overflow 4, elements
//	branch  position 4 (from the element), key size 4, page id 8
//	leaf    flags 4 (1: bucket), position 4, key size 4, value size 4
//	bucket  root page id 8 (0: an inline page follows), sequence 8
//	meta    magic 4, version 4, page size 4, flags 4, root bucket 16, freelist 8,
//	        pages 8, transaction 8, FNV-1a of all before 8
const (
	pageHead   = 16
	elemSize   = 16
	metaSize   = 64
	boltMagic  = 0xED0CDAED
	branchPage = 1
	leafPage   = 2
	metaPage   = 4
	maxDepth   = 64
	noFreelist = 1<<64 - 1 // we never store one: see boltOptions
)

// pages checks one file.
type pages struct {
	f    io.ReaderAt
	size int64 // of a page
	end  uint64
	seen map[uint64]bool
}

// checkPages reports the first thing that is wrong with the bbolt file at path.
func checkPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return checkBolt(f, info.Size())
}

func checkBolt(f io.ReaderAt, length int64) error {
	m, err := newestMeta(f, length)
	if err != nil {
		return err
	}
	p := &pages{f, int64(m.pageSize), m.pages, map[uint64]bool{0: true, 1: true}}
	if m.pages > uint64(length)/uint64(m.pageSize) {
		return fmt.Errorf("the file has %d bytes, its %d pages need more", length, m.pages)
	}
	return p.check(m.root, place{})
}

type boltMeta struct {
	pageSize          uint32
	root, pages, txid uint64
}

// newestMeta answers the valid meta page of the latest transaction. One of the
// two may be torn by a power cut: then the other one counts.
func newestMeta(f io.ReaderAt, length int64) (best boltMeta, err error) {
	err = errors.New("it has no valid first page")
	// The second one lies one page in, and any size may be meant: bbolt tries so too.
	for _, at := range []int64{0, 512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10} {
		if at+pageHead+metaSize > length {
			break
		}
		m, ok := readMeta(f, at)
		if ok && (at == 0 || at == int64(m.pageSize)) && (err != nil || m.txid > best.txid) {
			best, err = m, nil
		}
	}
	return best, err
}

func readMeta(f io.ReaderAt, at int64) (m boltMeta, ok bool) {
	b := make([]byte, pageHead+metaSize)
	if _, err := f.ReadAt(b, at); err != nil || binary.LittleEndian.Uint16(b[8:])&metaPage == 0 {
		return m, false
	}
	b = b[pageHead:]
	sum := fnv.New64a()
	sum.Write(b[:56])
	m = boltMeta{
		pageSize: binary.LittleEndian.Uint32(b[8:]), root: binary.LittleEndian.Uint64(b[16:]),
		pages: binary.LittleEndian.Uint64(b[40:]), txid: binary.LittleEndian.Uint64(b[48:]),
	}
	size := m.pageSize
	ok = binary.LittleEndian.Uint32(b) == boltMagic && binary.LittleEndian.Uint32(b[4:]) == 2 &&
		binary.LittleEndian.Uint64(b[32:]) == noFreelist && size >= 512 && size <= 64<<10 && size&(size-1) == 0 && binary.LittleEndian.Uint64(b[56:]) == sum.Sum64()
	return m, ok
}

// place is where a page hangs: how deep, and which keys belong below it: from
// low up to, but without, high. nil is no bound.
type place struct {
	depth     int
	low, high []byte
}

func (at place) holds(key []byte) bool {
	return bytes.Compare(at.low, key) <= 0 && (at.high == nil || bytes.Compare(key, at.high) < 0)
}

// check follows a page and everything below it.
func (p *pages) check(id uint64, at place) error {
	if id >= p.end || p.seen[id] || at.depth > maxDepth {
		return fmt.Errorf("page %d is out of place", id)
	}
	head := make([]byte, pageHead)
	if _, err := p.f.ReadAt(head, int64(id)*p.size); err != nil {
		return err
	}
	overflow := uint64(binary.LittleEndian.Uint32(head[12:]))
	if binary.LittleEndian.Uint64(head) != id || overflow >= p.end-id {
		return fmt.Errorf("page %d is not what it should be", id)
	}
	for n := range overflow + 1 {
		if p.seen[id+n] {
			return fmt.Errorf("page %d is used twice", id+n)
		}
		p.seen[id+n] = true
	}
	b := make([]byte, int64(overflow+1)*p.size)
	if _, err := p.f.ReadAt(b, int64(id)*p.size); err != nil {
		return err
	}
	return p.elements(b, at)
}

// elements checks the elements of a page, whole or inline, against its bounds.
func (p *pages) elements(b []byte, at place) error {
	id, flags, count := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint16(b[8:]), int(binary.LittleEndian.Uint16(b[10:]))
	if pageHead+count*elemSize > len(b) || flags != branchPage && flags != leafPage || flags == branchPage && count == 0 {
		return fmt.Errorf("page %d has an impossible head", id)
	}
	keys := make([][]byte, count+1)
	keys[count] = at.high
	for n := range count {
		key, err := elementKey(b, n, flags)
		if err != nil {
			return err
		}
		if !at.holds(key) || n > 0 && bytes.Compare(keys[n-1], key) >= 0 {
			return fmt.Errorf("page %d is out of order", id)
		}
		keys[n] = key
	}
	for n := range count {
		if err := p.below(b, n, flags, place{at.depth + 1, keys[n], keys[n+1]}); err != nil {
			return err
		}
	}
	return nil
}

// elementKey answers the key of the nth element.
func elementKey(b []byte, n int, flags uint16) ([]byte, error) {
	at := pageHead + n*elemSize
	e := b[at : at+elemSize]
	if flags == leafPage {
		e = e[4:]
	}
	return span(b, at, uint64(binary.LittleEndian.Uint32(e)), binary.LittleEndian.Uint32(e[4:]))
}

// below checks what the nth element leads to: a page, or the value beside its key.
func (p *pages) below(b []byte, n int, flags uint16, at place) error {
	pos := pageHead + n*elemSize
	e := b[pos : pos+elemSize]
	if flags == branchPage {
		return p.check(binary.LittleEndian.Uint64(e[8:]), at)
	}
	after := uint64(binary.LittleEndian.Uint32(e[4:])) + uint64(binary.LittleEndian.Uint32(e[8:]))
	value, err := span(b, pos, after, binary.LittleEndian.Uint32(e[12:]))
	if err != nil || binary.LittleEndian.Uint32(e)&1 == 0 {
		return err
	}
	return p.bucket(value, at.depth)
}

// span answers size bytes at a position from an element, if they are in the page.
func span(b []byte, at int, pos uint64, size uint32) ([]byte, error) {
	lo := uint64(at) + pos
	hi := lo + uint64(size)
	if hi > uint64(len(b)) || pos < elemSize && size > 0 {
		return nil, fmt.Errorf("page %d points outside of itself", binary.LittleEndian.Uint64(b))
	}
	return b[lo:hi], nil
}

func (p *pages) bucket(value []byte, depth int) error {
	if len(value) < 16 {
		return errors.New("a part of it has no beginning")
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return p.check(root, place{depth: depth})
	}
	inline := value[16:]
	if len(inline) < pageHead || depth > maxDepth || binary.LittleEndian.Uint16(inline[8:]) != leafPage {
		return errors.New("an inline part of it has no beginning")
	}
	return p.elements(inline, place{depth: depth})
}
