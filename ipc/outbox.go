package ipc

import (
	"fmt"
	"math/bits"
	"sync"
)

// maxUnread is how many control frames a peer may leave unread. A stopped one is
// owed far less: what only reminds it is sent once, and the rest answers what it
// asked for itself.
const maxUnread = 4096

// letter is an encoded frame on its way.
type letter struct {
	data   []byte
	grants []grant
	end    func(sent bool) // gives back what was kept for it; may be nil
}

func (l letter) finish(sent bool) {
	if l.end != nil {
		l.end(sent)
	}
}

// carrier is how a system sends the bytes of a letter.
type carrier interface {
	// try sends what fits at this moment and answers how many bytes that was.
	try(data []byte, grants []grant) (int, error)
	// push sends everything, waiting until it fits or the stream is closed.
	push(data []byte, grants []grant) error
	// keep makes the grants of a letter last until its end, however long that takes.
	keep(l *letter) error
}

// outbox is the writing end of a control stream. Who writes never waits for the
// reader: a companion may be stopped for as long as it likes, and its lane is not
// the only one that the writer serves.
type outbox struct {
	via carrier
	// sever ends the stream when something could not be sent that nobody hears of: its
	// reader takes the link down then. It is called without locks.
	sever func()

	mu    sync.Mutex // never held while waiting
	queue []letter
	hints uint32        // kinds of empty frames to send, one bit each
	idle  chan struct{} // closed when deliver is through; nil when it does not run
	err   error
	bell  [frameHead]byte
}

func newOutbox(via carrier, sever func()) *outbox {
	return &outbox{via: via, sever: sever, bell: encodeHead(frameDoorbell, 0, 0)}
}

// post sends l, or keeps it until there is room.
func (o *outbox) post(l letter) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.err
	if err == nil && o.idle == nil {
		var n int
		n, err = o.via.try(l.data, l.grants)
		o.err = err
		if err == nil && n == len(l.data) {
			l.finish(true)
			return nil
		}
		if n > 0 {
			l.data, l.grants = l.data[n:], nil
		}
	}
	if err == nil && len(o.queue) >= maxUnread {
		err = fmt.Errorf("%w: %d of them wait", errDeaf, len(o.queue))
		o.err = err
	}
	if err == nil {
		err = o.via.keep(&l)
	}
	if err != nil {
		l.finish(false)
		return err
	}
	o.queue = append(o.queue, l)
	o.start()
	return nil
}

// hint sends an empty frame that need not be sent twice. One that comes while the
// stream is full goes out after what is waiting.
func (o *outbox) hint(kind uint8) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return
	}
	if o.idle == nil {
		n, err := o.via.try(o.empty(kind), nil)
		switch {
		case err != nil: // the peer would never be told again
			o.err = err
			go o.sever()
			return
		case n == frameHead:
			return
		case n > 0:
			o.queue = append(o.queue, letter{data: o.empty(kind)[n:]})
			o.start()
			return
		}
	}
	o.hints |= 1 << kind
	o.start()
}

func (o *outbox) empty(kind uint8) []byte {
	if kind == frameDoorbell {
		return o.bell[:]
	}
	h := encodeHead(kind, 0, 0)
	return h[:]
}

// start has deliver run. The caller holds mu.
func (o *outbox) start() {
	if o.idle == nil {
		o.idle = make(chan struct{})
		go o.deliver()
	}
}

// deliver sends what has been kept until there is nothing left.
func (o *outbox) deliver() {
	for {
		l, ok := o.next()
		if !ok {
			return
		}
		err := o.via.push(l.data, l.grants)
		l.finish(err == nil)
		if err != nil {
			o.shut(err)
			o.sever()
		}
	}
}

func (o *outbox) next() (letter, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case len(o.queue) > 0:
		l := o.queue[0]
		o.queue[0] = letter{}
		o.queue = o.queue[1:]
		return l, true
	case o.hints != 0:
		kind := uint8(bits.TrailingZeros32(o.hints))
		o.hints &^= 1 << kind
		return letter{data: o.empty(kind)}, true
	}
	close(o.idle)
	o.idle, o.queue = nil, nil
	return letter{}, false
}

// shut gives up everything that waits.
func (o *outbox) shut(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	for _, l := range o.queue {
		l.finish(false)
	}
	o.queue, o.hints = nil, 0
}

// drained is closed when nothing waits any more, nil when that is so already.
func (o *outbox) drained() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.idle
}
