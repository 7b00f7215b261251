package ipc

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/windows"
)

// eventBell sleeps on auto-reset events: WaitOnAddress does not reach another process.
type eventBell struct {
	rx, tx windows.Handle
	limit  uint32 // of a sleep, in milliseconds
}

// newBell takes over the two event handles, own first; it is wary when the other side
// may be hostile.
func newBell(_, _ *atomic.Uint32, handles []uintptr, wary bool) (bell, error) {
	if len(handles) != 2 {
		return nil, fmt.Errorf("%d event handles instead of 2", len(handles))
	}
	e := &eventBell{rx: windows.Handle(handles[0]), tx: windows.Handle(handles[1]), limit: windows.INFINITE}
	if wary {
		e.limit = uint32(sleepLimit / time.Millisecond)
	}
	return e, nil
}

func (e *eventBell) sleep() bool {
	_, _ = windows.WaitForSingleObject(e.rx, e.limit)
	return true
}

func (e *eventBell) wakeSelf() { _ = windows.SetEvent(e.rx) }
func (e *eventBell) wakePeer() { _ = windows.SetEvent(e.tx) }

func (e *eventBell) close() error {
	return errors.Join(windows.CloseHandle(e.rx), windows.CloseHandle(e.tx))
}
