package ipc

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"unsafe"

	"berth/internal/shm"
)

// Memory that is shared can fail under who touches it: SIGBUS when its pages are
// gone. Sealed sizes and committed pages leave no way to that which we know; who
// meets it all the same loses the lane, and not its life.
//
// A goroutine gets a panic instead of the signal while SetPanicOnFault is on for it.
// It is on for a whole stint of a leader, who holds nothing while it touches the lane
// but mu during a batch (dispatching says so); everybody else touches the lane in
// transmit, transmitOrKeep, drainBacklog, shake and in looking for room, and payloads
// in carry, which end in an error and hold nothing afterwards. So no fault unwinds a
// function that holds a lock or is in the middle of a change. What recovers looks at
// the address: a fault anywhere else goes on as the panic that it is.

// span is where memory is, or was.
type span struct{ at, size uintptr }

func spanOf(b []byte) span {
	// SAFETY: the address is only compared.
	return span{uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))}
}

// missed answers where in b the fault happened that v, from a recover, tells of.
func missed(v any, b []byte) (offset int, ok bool) { return spanOf(b).missed(v) }

func (s span) missed(v any) (offset int, ok bool) {
	e, ok := v.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		return 0, false
	}
	off := e.Addr() - s.at
	return int(off), off < s.size
}

// vanished is the end of a link whose memory could not be reached.
func (l *link) vanished(what string, offset int) error {
	return fmt.Errorf("%w: fault at byte %d of %s shared with %s", ErrFault, offset, what, l.peer)
}

// laneFault makes what a recover answered an error, if it was a fault in the lane.
// The lane is mapped: the caller holds a lock that says so.
func (l *link) laneFault(v any) error {
	offset, ok := missed(v, l.lane.Bytes())
	if !ok {
		panic(v)
	}
	return l.vanished("the lane", offset)
}

// rescue ends the stint of a leader. After a fault the link is dead, and what the leader
// held is free but for the lead, if that is kept. Any other panic goes on, and leaves the
// lane to others: the caller's mistake (no context, say) may be recovered from.
func (l *link) rescue(before, keep bool) {
	v := recover()
	debug.SetPanicOnFault(before)
	if v == nil {
		return
	}
	offset, ours := missed(v, l.lane.Bytes()) // mapped: the caller leads
	if l.dispatching {
		l.dispatching = false
		l.mu.Unlock()
	}
	if ours {
		l.breach(l.vanished("the lane", offset))
		l.runStirred() // by what the batch had handled before
	}
	if !keep {
		l.unlead()
	}
	if !ours {
		l.keepWatch() // the lane is not armed
		panic(v)
	}
}

// txDone lets go of txMu, after a fault as well.
func (l *link) txDone(before bool, err *error) {
	v := recover()
	debug.SetPanicOnFault(before)
	if v != nil {
		*err = l.txFault(v)
		return
	}
	l.txMu.Unlock()
}

func (l *link) txFault(v any) error {
	defer l.txMu.Unlock()
	return l.laneFault(v)
}

// shaken ends shake, whose caller holds mu.
func (l *link) shaken(before bool) {
	v := recover()
	debug.SetPanicOnFault(before)
	if v != nil {
		go l.breach(l.laneFault(v))
	}
}

// carry copies between memory shared on from and memory shared on to; nil for memory of
// this process, a buffer of whole bytes or a piece of it. The link whose memory vanished
// is dropped. The caller holds no lock.
func carry(to *link, dst []byte, from *link, src []byte, whole int) (n int, err error) {
	if to != nil || from != nil {
		defer carried(debug.SetPanicOnFault(true), to, dst, from, src, &err)
	}
	for len(dst) > stint && len(src) > stint {
		n += carryStint(to, dst[:stint], src[:stint], whole)
		dst, src = dst[stint:], src[stint:]
		giveWay()
	}
	return n + carryStint(to, dst, src, whole), nil
}

func carryStint(to *link, dst, src []byte, whole int) int {
	if to == nil {
		return shm.CopyOut(dst, src, whole)
	}
	return shm.Copy(dst, src)
}

func carried(before bool, to *link, dst []byte, from *link, src []byte, err *error) {
	v := recover()
	debug.SetPanicOnFault(before)
	if v == nil {
		return
	}
	l := from
	offset, ok := missed(v, src)
	if !ok {
		l = to
		offset, ok = missed(v, dst)
	}
	if !ok || l == nil {
		panic(v)
	}
	*err = l.vanished("a payload", offset)
	l.breach(*err)
}

// readInto reads from r into memory shared on l.
func readInto(l *link, b []byte, r io.Reader) (n int, err error) {
	defer carried(debug.SetPanicOnFault(true), l, b, nil, nil, &err)
	return r.Read(b)
}

// guarded runs f, for which a fault in b is an error. For what is done rarely.
func guarded(b []byte, what string, f func() error) (err error) {
	defer func(before bool) {
		v := recover()
		debug.SetPanicOnFault(before)
		if v == nil {
			return
		}
		offset, ok := missed(v, b)
		if !ok {
			panic(v)
		}
		err = fmt.Errorf("%w: fault at byte %d of %s", ErrFault, offset, what)
	}(debug.SetPanicOnFault(true))
	return f()
}

// Guard calls f and answers ErrFault when memory shared on the lane of s vanished
// under it: under Message.Bytes or Parcel.Bytes, in this goroutine. f ends there, its
// deferred calls run, and the link ends with that error. Handlers run so already. Any
// other panic, and a fault in any other memory, goes on as what it is.
func (s *Session) Guard(f func()) (err error) {
	defer s.l.rescueUser(debug.SetPanicOnFault(true), &err)
	f()
	return nil
}

// rescueUser ends what a caller of this package does with payloads.
func (l *link) rescueUser(before bool, err *error) {
	v := recover()
	debug.SetPanicOnFault(before)
	if v == nil {
		return
	}
	offset, ok := l.missedInBlock(v)
	if !ok {
		panic(v)
	}
	*err = l.vanished("the block", offset)
	l.breach(*err)
}

func (l *link) missedInBlock(v any) (offset int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.theirs {
		if offset, ok = f.span.missed(v); ok {
			return offset, true
		}
	}
	for _, e := range l.mem.extents {
		if offset, ok = missed(v, e.seg.Bytes()); ok {
			return offset, true
		}
	}
	for _, s := range l.unmapped {
		if offset, ok = s.missed(v); ok {
			return offset, true
		}
	}
	return 0, false
}

// maxUnmapped is how many segments a living link remembers that it has unmapped.
const maxUnmapped = 64

// noteUnmapped remembers a segment of the block that is about to be closed. After a fault
// the deferred calls of who met it release what it held before anybody asks whose memory
// that was. The caller holds mu.
func (l *link) noteUnmapped(s span) {
	if len(l.unmapped) >= maxUnmapped && l.err == nil {
		l.unmapped = append(l.unmapped[:0], l.unmapped[1:]...)
	}
	l.unmapped = append(l.unmapped, s)
}
