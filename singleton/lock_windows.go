package singleton

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/windows"

	"berth/session"
)

// mutexLock owns a mutex through a goroutine that keeps its thread, because
// Windows binds ownership to the thread.
type mutexLock struct {
	once    sync.Once
	done    chan struct{} // closed to ask for release
	outcome chan error    // result of the release
	err     error
	never   chan struct{}
}

func acquire(s session.Session, app string, o options) (holder, error) {
	l := &mutexLock{done: make(chan struct{}), outcome: make(chan error, 1), never: make(chan struct{})}
	owned := make(chan error, 1)
	go l.own(s, app, o, owned)
	if err := <-owned; err != nil {
		return nil, err
	}
	return l, nil
}

// own takes the mutex, reports to owned, and holds it until release is called.
func (l *mutexLock) own(s session.Session, app string, o options, owned chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	mutex, err := open(s, app, o)
	if err == nil {
		err = take(mutex, o.wait)
	}
	owned <- err
	if err == nil {
		<-l.done
		err = windows.ReleaseMutex(mutex)
	}
	if mutex != 0 {
		err = errors.Join(err, windows.CloseHandle(mutex))
	}
	l.outcome <- err
}

// open makes the mutex or opens the one that is there. Whether it existed says
// nothing (an observer may have it open); only ownership counts.
func open(s session.Session, app string, o options) (windows.Handle, error) {
	name := s.Object(app, "mutex")
	if o.machine {
		name = s.MachineObject(app, "mutex")
	}
	sa, err := s.SecurityAttributes()
	if err != nil {
		return 0, err
	}
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, err
	}
	mutex, err := windows.CreateMutex(sa, false, path)
	switch {
	case err == nil, errors.Is(err, windows.ERROR_ALREADY_EXISTS):
		return verified(s, mutex, name, o)
	case errors.Is(err, windows.ERROR_ACCESS_DENIED) && o.machine:
		return 0, fmt.Errorf("%w, for another user (%s)", ErrHeld, name)
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return 0, fmt.Errorf("%w: %s belongs to another user", session.ErrUnsafe, name)
	}
	return 0, fmt.Errorf("mutex %s: %w", name, err)
}

func verified(s session.Session, mutex windows.Handle, name string, o options) (windows.Handle, error) {
	if o.machine {
		return mutex, nil
	}
	if err := s.VerifyObject(mutex, name); err != nil {
		return 0, errors.Join(err, windows.CloseHandle(mutex))
	}
	return mutex, nil
}

// take waits for ownership: not at all, or until ctx ends. An abandoned mutex is
// ours like any other; its owner died, and nothing but the right was held by it.
func take(mutex windows.Handle, ctx context.Context) error {
	handles := []windows.Handle{mutex}
	timeout := uint32(0)
	if ctx != nil {
		cancel, err := windows.CreateEvent(nil, 1, 0, nil)
		if err != nil {
			return fmt.Errorf("event: %w", err)
		}
		defer windows.CloseHandle(cancel)
		told := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(told)
			windows.SetEvent(cancel) //nolint:errcheck // the handle is open until told
		})
		defer func() {
			if !stop() {
				<-told
			}
		}()
		handles, timeout = append(handles, cancel), windows.INFINITE
	}
	got, err := windows.WaitForMultipleObjects(handles, false, timeout)
	switch {
	case err != nil:
		return fmt.Errorf("wait for the mutex: %w", err)
	case got == windows.WAIT_OBJECT_0, got == windows.WAIT_ABANDONED:
		return nil
	case ctx != nil && ctx.Err() != nil:
		return fmt.Errorf("%w (%w)", ErrHeld, context.Cause(ctx))
	}
	return ErrHeld
}

func (l *mutexLock) release() error {
	l.once.Do(func() {
		close(l.done)
		l.err = <-l.outcome
	})
	return l.err
}

func (l *mutexLock) check() error { return nil }

func (l *mutexLock) lost() <-chan struct{} { return l.never }
