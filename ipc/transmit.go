package ipc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// post publishes r without ever waiting: when the ring is full it goes to the
// backlog. For what the protocol owes the other side.
func (l *link) post(r *record) {
	wake, err := l.transmitOrKeep(r)
	l.act(wake)
	if err != nil {
		go l.breach(err) // the caller may hold mu
	}
}

func (l *link) transmitOrKeep(r *record) (wake uint32, err error) {
	l.txMu.Lock()
	defer l.txDone(debug.SetPanicOnFault(true), &err)
	if l.gone {
		return awake, nil
	}
	wake, err = l.tryPush(r)
	if errors.Is(err, errFull) {
		l.backlog = append(l.backlog, *r)
		if err = nil; len(l.backlog) > maxBacklog {
			err = fmt.Errorf("%d records wait for it to read its ring", len(l.backlog))
		}
	}
	return wake, err
}

const maxBacklog = 1 << 16

var (
	errFull = errors.New("the ring is full")
	errGone = errors.New("the lane is unmapped")
)

// tryPush publishes r or announces that room is wanted. The caller holds txMu.
func (l *link) tryPush(r *record) (wake uint32, err error) {
	if len(l.backlog) > 0 {
		return awake, errFull
	}
	room, err := l.askRoom()
	if err != nil {
		return awake, err
	}
	if room == 0 {
		return awake, errFull
	}
	return l.tx.push(r), nil
}

// askRoom is the number of free slots; with none, the other side will say when
// there are some. Whoever goes to sleep for want of room must have asked last. The
// caller holds txMu.
func (l *link) askRoom() (uint32, error) {
	room, err := l.tx.room()
	if err == nil && room == 0 {
		l.short.Store(true)
		l.tx.wantSpace()
		room, err = l.tx.room()
	}
	return room, err
}

// act wakes the other side as it asked to be woken.
func (l *link) act(wake uint32) {
	switch wake {
	case asleep:
		l.bell.wakePeer()
	case doorbell:
		l.conn.hint(frameDoorbell)
	}
}

// sayTime is how long sayAll waits.
const sayTime = time.Second

// sayAll waits for the other side to take what had no room in the ring.
func (l *link) sayAll() {
	for end := time.Now().Add(sayTime); l.unsaid() > 0 && time.Now().Before(end); {
		select {
		case <-l.done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (l *link) unsaid() int {
	l.txMu.Lock()
	defer l.txMu.Unlock()
	return len(l.backlog)
}

// flush pushes the backlog as far as there is room and tells who waits for it.
func (l *link) flush() {
	if !l.short.Swap(false) {
		return
	}
	wake, err := l.drainBacklog()
	l.act(wake)
	if err != nil {
		l.breach(err)
		return
	}
	l.mu.Lock()
	l.notify(l.room)
	l.mu.Unlock()
}

func (l *link) drainBacklog() (wake uint32, err error) {
	l.txMu.Lock()
	defer l.txDone(debug.SetPanicOnFault(true), &err)
	sent := 0
	for sent < len(l.backlog) && err == nil {
		var room, w uint32
		if room, err = l.askRoom(); room == 0 {
			break
		}
		w = l.tx.push(&l.backlog[sent])
		wake = max(wake, w)
		sent++
	}
	l.backlog = append(l.backlog[:0], l.backlog[sent:]...)
	return wake, err
}

// send publishes r, waiting for room in the ring.
func (l *link) send(ctx context.Context, r *record) error {
	for waited := false; ; waited = true {
		wake, err := l.transmit(r)
		l.act(wake)
		switch {
		case errors.Is(err, errGone):
			return l.cause()
		case err == nil && waited:
			l.passRoom()
			return nil
		case err == nil:
			return nil
		case !errors.Is(err, errFull):
			l.breach(err)
			return l.cause()
		}
		if err := l.await(ctx, (*roomWanted)(l), l.room); err != nil {
			l.passRoom()
			return err
		}
	}
}

// transmit is tryPush for who holds nothing.
func (l *link) transmit(r *record) (wake uint32, err error) {
	l.txMu.Lock()
	defer l.txDone(debug.SetPanicOnFault(true), &err)
	if l.gone {
		return awake, errGone
	}
	return l.tryPush(r)
}

// passRoom wakes the next one who waits for room: only one is told when there is
// some, and who finds none asks the other side again.
func (l *link) passRoom() {
	l.mu.Lock()
	l.notifyOne(l.room)
	l.mu.Unlock()
}

// roomWanted is the condition that a record can be pushed.
type roomWanted link

func (w *roomWanted) ready() bool {
	room, err := (*link)(w).freshRoom()
	return err != nil || room > 0
}

// freshRoom is askRoom for who holds no txMu: for records that need not wait for others.
func (l *link) freshRoom() (room uint32, err error) {
	l.txMu.Lock()
	defer l.txDone(debug.SetPanicOnFault(true), &err)
	if l.gone {
		return 0, errGone
	}
	if room, err = l.askRoom(); len(l.backlog) > 0 {
		room = 0
	}
	return room, err
}
