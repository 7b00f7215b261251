package ipc

import (
	"errors"
	"fmt"
	"io"

	"berth/internal/shm"
)

// frame is a control frame with the handles that came with it. Whoever gets one
// owns the handles.
type frame struct {
	kind    uint8
	body    []byte
	handles []uintptr
}

// grant is a segment or another kernel object passed to the companion.
type grant struct {
	handle uintptr
	rights rights
}

// rights are what the companion may do with a grant, where the system can tell.
type rights int

const (
	rightsWrite rights = iota // map for reading and writing
	rightsRead                // map for reading
	rightsEvent               // set and wait for
)

// conn is the control stream of one companion. Reading is for one goroutine,
// writing for many.
type conn interface {
	read() (frame, error)
	// write sends a frame, now or as soon as the peer reads; it never waits for it.
	write(kind uint8, body []byte, grants ...grant) error
	// hint sends an empty frame, once for all the times that it is called while the
	// peer doesn't read.
	hint(kind uint8)
	close() error
}

// peer is the process at the other end of a control stream.
type peer struct {
	pid     int
	wait    func() // returns when the process has ended or release was called; nil where the stream's end must do
	release func() error
}

// errDeaf: a peer that leaves its control frames unread.
var errDeaf = errors.New("it leaves its control frames unread")

// errStranger: a process that may not be a companion; the engine goes on.
var errStranger = errors.New("a stranger dialled")

func share(s *shm.Segment) grant     { return grant{s.Handle(), rightsWrite} }
func shareRead(s *shm.Segment) grant { return grant{s.ReadHandle(), rightsRead} }

func encodeHead(kind uint8, handles, body int) [frameHead]byte {
	var h [frameHead]byte
	h[0] = kind
	le.PutUint16(h[2:], uint16(handles))
	le.PutUint32(h[4:], uint32(body))
	return h
}

// readFrame reads head and body from r; the handles are the business of the system. The
// head goes into h, which the caller keeps: one of its own would be on the heap.
func readFrame(r io.Reader, h *[frameHead]byte) (f frame, handles int, err error) {
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return frame{}, 0, err
	}
	handles, n := int(le.Uint16(h[2:])), le.Uint32(h[4:])
	if h[1] != 0 || handles > maxHandles || n > maxFrame {
		return frame{}, 0, fmt.Errorf("%w: a frame with head %x", ErrProtocol, *h)
	}
	f.kind = h[0]
	if n > 0 {
		f.body = make([]byte, n)
		if _, err := io.ReadFull(r, f.body); err != nil {
			return frame{}, 0, err
		}
	}
	return f, handles, nil
}
