package ipc

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/windows"
)

// eventBell sleeps on auto-reset events: WaitOnAddress does not reach another process.
type eventBell struct {
	rx, tx windows.Handle
	limit  uint32 // of a sleep, in milliseconds

	mu     sync.RWMutex
	closed bool
}

// newBell takes over the two event handles, own first, also when it fails; it is wary when
// the other side may be hostile.
func newBell(_, _ *atomic.Uint32, handles []uintptr, wary bool) (bell, error) {
	if len(handles) != 2 {
		closeHandles(handles)
		return nil, fmt.Errorf("%d event handles instead of 2", len(handles))
	}
	e := &eventBell{rx: windows.Handle(handles[0]), tx: windows.Handle(handles[1]), limit: windows.INFINITE}
	if wary {
		e.limit = uint32(sleepLimit / time.Millisecond)
	}
	return e, nil
}

// sleep needs no lock: who leads keeps the lane, and with it the events.
func (e *eventBell) sleep() bool {
	_, _ = windows.WaitForSingleObject(e.rx, e.limit)
	return true
}

func (e *eventBell) wakeSelf() { e.set(e.rx) }
func (e *eventBell) wakePeer() { e.set(e.tx) }

// set does nothing after close: who has sent a record wakes the other side when it holds
// nothing any more, and the number of the handle may be another object's by then.
func (e *eventBell) set(event windows.Handle) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if !e.closed {
		_ = windows.SetEvent(event)
	}
}

func (e *eventBell) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	return errors.Join(windows.CloseHandle(e.rx), windows.CloseHandle(e.tx))
}
