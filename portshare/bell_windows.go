package portshare

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/windows"

	"berth/internal/shm"
	"berth/session"
)

// eventBell sleeps on a manual-reset event whose name contains the sequence: who
// waits for the end of sequence 6 makes the event of 6, who ends it sets that event.
// It is set once and never reset, so nobody can come too late for it.
type eventBell struct {
	session session.Session
	app     string
	word    *uint32
	stop    windows.Handle
	once    sync.Once
	ended   chan struct{}
}

func newBell(s session.Session, app string, _ *shm.Named, word *uint32) (bell, error) {
	stop, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	return &eventBell{session: s, app: app, word: word, stop: stop, ended: make(chan struct{})}, nil
}

// event makes the event of seq, or opens the one that is there.
func (b *eventBell) event(seq uint32) (windows.Handle, error) {
	sa, err := b.session.SecurityAttributes()
	if err != nil {
		return 0, err
	}
	name, err := windows.UTF16PtrFromString(b.session.Object(b.app, fmt.Sprintf("bell-%d", seq)))
	if err != nil {
		return 0, err
	}
	h, err := windows.CreateEvent(sa, 1, 0, name)
	if h == 0 {
		return 0, err
	}
	return h, nil // ERROR_ALREADY_EXISTS comes with a good handle
}

// wait never loses a wake-up. The event exists before the sequence is compared: if
// the compare still finds seq, the writer has yet to change it, and sets the event
// afterwards, when it finds ours by its name.
func (b *eventBell) wait(seq uint32) bool {
	handles := []windows.Handle{b.stop}
	event, err := b.event(seq)
	timeout := uint32(windows.INFINITE)
	if err == nil {
		defer windows.CloseHandle(event)
		handles = append(handles, event)
	} else {
		timeout = 100 // out of handles: look again soon
	}
	if atomic.LoadUint32(b.word) != seq {
		timeout = 0
	}
	got, err := windows.WaitForMultipleObjects(handles, false, timeout)
	if err == nil && got == windows.WAIT_OBJECT_0 {
		b.once.Do(func() { close(b.ended) })
		return true
	}
	return false
}

func (b *eventBell) ring(seq uint32) {
	event, err := b.event(seq)
	if err != nil {
		return
	}
	windows.SetEvent(event) //nolint:errcheck // a manual-reset event that we may modify
	windows.CloseHandle(event)
}

func (b *eventBell) close() {
	windows.SetEvent(b.stop) //nolint:errcheck // open until the next line but one
	<-b.ended
	windows.CloseHandle(b.stop)
}
