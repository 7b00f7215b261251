package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
	"unsafe"
)

// The protocol, as the page of package ipc describes it byte by byte. This second
// implementation exists to break it: it checks nothing and does what it is told.

const (
	wireVersion = 3 // whoever changes the layout changes what follows

	frameHello      = 1
	frameRefused    = 3
	frameWelcome    = 4
	frameExtent     = 5
	frameMapped     = 6
	frameRegistered = 7
	frameWant       = 8
	frameForget     = 10
	frameDoorbell   = 12
	frameFailure    = 13

	recordOpen    = 1
	recordMessage = 3
	recordRelease = 4
	recordClose   = 6

	flagRequest = 1
	flagInline  = 8

	laneHead   = 4096
	laneUpHead = 128
	recordSize = 128
	inlineSize = 112

	wirePatience = 10 * time.Second
)

var le = binary.LittleEndian

// wire is one companion without manners: a control stream, and what the engine
// has mapped for it. Only one goroutine uses it, besides the one in listen.
type wire struct {
	conn    wireConn
	lane    []byte
	out, in []byte // the first extents of the block
	slots   uint32
	tail    uint32
	gone    chan struct{} // closed when the engine has hung up
	why     string        // set before gone is closed
}

// wireConn is a control stream of this system. A read answers the handles that
// came with the frame; who reads owns them.
type wireConn interface {
	io.WriteCloser
	readFrame() (kind uint8, body []byte, handles []uintptr, err error)
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// wireRecord is a record as words.
type wireRecord [recordSize / 8]uint64

func newWireRecord(kind, flags uint8, session, argument uint32) wireRecord {
	return wireRecord{uint64(kind)<<32 | uint64(flags)<<40, uint64(session) | uint64(argument)<<32}
}

// at makes it point at a payload.
func (r wireRecord) at(segment, generation uint32, offset, length uint64) wireRecord {
	r[2], r[3], r[4] = uint64(segment)|uint64(generation)<<32, offset, length
	return r
}

// inline puts up to inlineSize bytes into it.
func (r wireRecord) inline(b []byte) wireRecord {
	var body [inlineSize]byte
	n := copy(body[:], b)
	r[0] |= flagInline<<40 | uint64(n)<<48
	for i := range body {
		r[2+i/8] |= uint64(body[i]) << (i % 8 * 8)
	}
	return r
}

// listed makes it give back n allocations, which are all the same.
func (r wireRecord) listed(n int, segment, generation uint32, offset uint64) wireRecord {
	r[0] |= uint64(16*n) << 48
	for i := 2; i+1 < len(r); i += 2 {
		r[i], r[i+1] = uint64(segment)|uint64(generation)<<32, offset
	}
	return r
}

func dialWire(endpoint string) (*wire, error) {
	c, err := openWire(endpoint)
	if err != nil {
		return nil, err
	}
	return &wire{conn: c, gone: make(chan struct{})}, nil
}

// frame writes a control frame. It fails, and does not wait, when the engine has
// hung up or reads nothing for a while.
func (w *wire) frame(kind uint8, body []byte) error {
	head := make([]byte, 8, 8+len(body))
	head[0] = kind
	le.PutUint32(head[4:], uint32(len(body)))
	return w.raw(append(head, body...))
}

func (w *wire) raw(b []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(wirePatience)); err != nil {
		return err
	}
	_, err := w.conn.Write(b)
	return err
}

func (w *wire) hello(name string) error {
	b := append([]byte("BERTHIPC"), wireVersion, 0, 0, 0)
	b = le.AppendUint32(b, uint32(os.Getpid()))
	b = le.AppendUint64(b, 0)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint16(b, uint16(len(name)))
	return w.frame(frameHello, append(b, name...))
}

// register goes through the rendezvous up to the stage that is asked for: 0 the
// hello alone, 1 the welcome, 2 the extents, 3 all of it.
func (w *wire) register(name string, stage int) error {
	if err := w.hello(name); err != nil || stage == 0 {
		return err
	}
	for extents := 0; ; {
		if err := w.conn.SetReadDeadline(time.Now().Add(wirePatience)); err != nil {
			return err
		}
		kind, body, handles, err := w.conn.readFrame()
		if err != nil {
			return err
		}
		switch {
		case kind == frameRefused && len(body) >= 4:
			closeWireHandles(handles)
			return fmt.Errorf("refused: %s", body[4:])
		case kind == frameWelcome && len(handles) >= 2 && len(body) == 56:
			w.slots = le.Uint32(body[12:])
			w.lane, err = mapWire(handles[1], int(le.Uint64(body[32:])), true)
		case kind == frameExtent && len(handles) == 1 && len(body) == 16:
			extents++
			err = w.mapExtent(body, handles[0])
		}
		closeWireHandles(handles)
		switch {
		case err != nil:
			return err
		case kind == frameRegistered, kind == frameWelcome && stage == 1, extents == 2 && stage == 2:
			return nil
		case kind == frameWelcome:
			err = w.frame(frameMapped, le.AppendUint32(nil, 0))
		case kind == frameExtent:
			err = w.frame(frameMapped, body[:4])
		}
		if err != nil {
			return err
		}
	}
}

func (w *wire) mapExtent(body []byte, handle uintptr) (err error) {
	if le.Uint32(body[4:]) == 0 {
		w.out, err = mapWire(handle, int(le.Uint64(body[8:])), true)
		return err
	}
	w.in, err = mapWire(handle, int(le.Uint64(body[8:])), false)
	return err
}

// listen reads what the engine says, in a goroutine of its own, until it hangs
// up. It is to be called once, after register.
func (w *wire) listen() {
	go func() {
		defer close(w.gone)
		if w.conn.SetReadDeadline(time.Time{}) != nil {
			return
		}
		for {
			kind, body, handles, err := w.conn.readFrame()
			closeWireHandles(handles)
			if err != nil {
				return
			}
			if kind == frameFailure {
				w.why = string(body)
			}
		}
	}()
}

// hungUp says whether the engine has had enough of it.
func (w *wire) hungUp() bool {
	select {
	case <-w.gone:
		return true
	default:
		return false
	}
}

// errStuck: the engine waits for another record than the one that was written.
var errStuck = errors.New("the lane is stuck")

// await waits a moment for room for 16 records: those that nobody has read would
// be written over, and the engine would never see them.
func (w *wire) await() error {
	for range 50 {
		if head := uint32(w.word(laneUpHead).Load()); w.tail-head <= w.slots-16 || w.hungUp() {
			return nil
		}
		time.Sleep(100 * time.Microsecond)
	}
	return errStuck
}

// ringAndAwait has the engine look, and waits until there is room again.
func (w *wire) ringAndAwait() error {
	if err := w.ring(); err != nil {
		return err
	}
	return w.await()
}

// push publishes a record without looking whether there is room.
func (w *wire) push(r wireRecord) {
	slot := laneHead + int(w.tail%w.slots)*recordSize
	for i := 1; i < len(r); i++ {
		w.word(slot + 8*i).Store(r[i])
	}
	w.tail++
	w.word(slot).Swap(r[0] | uint64(w.tail))
}

// ring has the engine look at the lane.
func (w *wire) ring() error { return w.frame(frameDoorbell, nil) }

func (w *wire) word(off int) *atomic.Uint64 { return wordOf(w.lane, off) }

func wordOf(b []byte, off int) *atomic.Uint64 {
	// SAFETY: off is a multiple of 8 inside b, which is mapped from a page boundary until close.
	return (*atomic.Uint64)(unsafe.Pointer(&b[off]))
}

// close hangs up and unmaps everything.
func (w *wire) close(listening bool) {
	_ = w.conn.Close()
	if listening {
		<-w.gone
	}
	for _, b := range [][]byte{w.lane, w.out, w.in} {
		if b != nil {
			unmapWire(b)
		}
	}
}

func readWireHead(r io.Reader) (kind uint8, handles int, body []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, nil, err
	}
	n := le.Uint32(head[4:])
	if n > 1<<16 {
		return 0, 0, nil, fmt.Errorf("a frame of %d bytes", n)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return head[0], int(le.Uint16(head[2:])), body, err
}
