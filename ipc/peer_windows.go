package ipc

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/windows"
)

// now is the system's clock, in units of 100 ns since 1601.
func now() uint64 {
	var t windows.Filetime
	windows.GetSystemTimePreciseAsFileTime(&t)
	return ticks(t)
}

func ticks(t windows.Filetime) uint64 { return uint64(t.HighDateTime)<<32 | uint64(t.LowDateTime) }

// openClient opens the process that connected to a pipe before the time seen. One
// that got the number of a client that ended at once is told by its beginning, as
// exactly as the system notes beginnings (16 ms).
func openClient(pid uint32, seen uint64) (windows.Handle, error) {
	h, err := windows.OpenProcess(windows.PROCESS_DUP_HANDLE|windows.SYNCHRONIZE|windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return 0, fmt.Errorf("open process %d: %w", pid, err)
	}
	var created, exited, kernel, user windows.Filetime
	err = windows.GetProcessTimes(h, &created, &exited, &kernel, &user)
	if err == nil && reused(ticks(created), seen, now()) {
		err = fmt.Errorf("%w: it had ended, and its number is another one's now", ErrPeer)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("process %d: %w", pid, err), windows.CloseHandle(h))
	}
	return h, nil
}

// reused tells a process that began after the client had been seen. A beginning
// that is still to come means that somebody has set the clock back.
func reused(created, seen, now uint64) bool { return created > seen && created <= now }

// perShift is how many processes one call can wait for, beside the event that wakes it.
const perShift = 63

// vigil waits for the ends of processes, with one thread for each 63 of them.
type vigil struct {
	mu     sync.Mutex
	shifts []*shift
}

// shift is a goroutine of a vigil. It ends when it has nobody to wait for.
type shift struct {
	wake  windows.Handle // auto-reset event: wards is another list
	wards []*ward        // guarded by the vigil's mu
}

// ward is a process that is waited for.
type ward struct {
	process windows.Handle
	over    chan struct{} // closed when it has ended, or was released

	// Guarded by the vigil's mu.
	shift    *shift // nil when nobody waits for it any more
	ended    bool
	released bool
}

// watch waits for a process from now on. The handle is the vigil's until release.
func (v *vigil) watch(process windows.Handle) (*ward, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := &ward{process: process, over: make(chan struct{})}
	for _, s := range v.shifts {
		if len(s.wards) < perShift {
			w.shift, s.wards = s, append(s.wards, w)
			_ = windows.SetEvent(s.wake) // open while it has a ward
			return w, nil
		}
	}
	wake, err := windows.CreateEvent(nil, 0, 0, nil)
	if err != nil {
		return nil, err
	}
	w.shift = &shift{wake: wake, wards: []*ward{w}}
	v.shifts = append(v.shifts, w.shift)
	go v.keep(w.shift)
	return w, nil
}

// release gives the handle back, once nobody waits for it.
func (v *vigil) release(w *ward) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if w.released {
		return nil
	}
	w.released = true
	if !w.ended {
		close(w.over)
	}
	if w.shift == nil {
		return windows.CloseHandle(w.process)
	}
	return windows.SetEvent(w.shift.wake)
}

func (v *vigil) keep(s *shift) {
	for {
		wards, handles := v.roll(s)
		if len(wards) == 0 {
			return
		}
		n, err := windows.WaitForMultipleObjects(handles, false, windows.INFINITE)
		switch {
		case err != nil: // the ends of their pipes must do
			v.dismiss(s, wards, false)
		case n > 0 && int(n) <= len(wards):
			v.dismiss(s, wards[n-1:n], true)
		}
	}
}

// roll is what a shift has to wait for, its own event first; nothing when it is over.
func (v *vigil) roll(s *shift) ([]*ward, []windows.Handle) {
	v.mu.Lock()
	defer v.mu.Unlock()
	handles := []windows.Handle{s.wake}
	kept := make([]*ward, 0, len(s.wards))
	for _, w := range s.wards {
		if w.released {
			_ = windows.CloseHandle(w.process)
			continue
		}
		kept, handles = append(kept, w), append(handles, w.process)
	}
	s.wards = kept
	if len(kept) == 0 {
		_ = windows.CloseHandle(s.wake)
		v.shifts = slices.DeleteFunc(v.shifts, func(other *shift) bool { return other == s })
	}
	return slices.Clone(kept), handles
}

// dismiss takes wards off the list: they have ended, or can't be waited for.
func (v *vigil) dismiss(s *shift, wards []*ward, ended bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, w := range wards {
		if w.released {
			continue // roll closes it
		}
		if w.shift = nil; ended {
			w.ended = true
			close(w.over)
		}
	}
	s.wards = slices.DeleteFunc(s.wards, func(w *ward) bool { return w.shift == nil })
}
