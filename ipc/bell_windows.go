package ipc

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/windows"
)

// eventBell sleeps on auto-reset events: WaitOnAddress does not reach another process.
type eventBell struct{ rx, tx windows.Handle }

// newBell takes over the two event handles, own first.
func newBell(_, _ *atomic.Uint32, handles []uintptr) (bell, error) {
	if len(handles) != 2 {
		return nil, fmt.Errorf("%d event handles instead of 2", len(handles))
	}
	return eventBell{windows.Handle(handles[0]), windows.Handle(handles[1])}, nil
}

func (e eventBell) sleep() bool {
	_, _ = windows.WaitForSingleObject(e.rx, windows.INFINITE)
	return true
}

func (e eventBell) wakeSelf() { _ = windows.SetEvent(e.rx) }
func (e eventBell) wakePeer() { _ = windows.SetEvent(e.tx) }

func (e eventBell) close() error {
	return errors.Join(windows.CloseHandle(e.rx), windows.CloseHandle(e.tx))
}
