package portshare

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

const processRights = windows.SYNCHRONIZE | windows.PROCESS_QUERY_LIMITED_INFORMATION

// startTime is the creation time in units of 100 ns since 1601.
func startTime(pid int) (uint64, error) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return 0, err
	}
	defer windows.CloseHandle(h)
	return creation(h)
}

func creation(h windows.Handle) (uint64, error) {
	var created, exited, kernel, user windows.Filetime
	err := windows.GetProcessTimes(h, &created, &exited, &kernel, &user)
	return uint64(created.HighDateTime)<<32 | uint64(created.LowDateTime), err
}

func ownStart() (uint64, error) { return startTime(os.Getpid()) }

func pidNamespace() uint32 { return 0 }

// open returns a handle of p, 0 and nil when p has ended. The handle is open before
// the creation time is read: what it names cannot be exchanged any more.
func (p process) open() (windows.Handle, error) {
	h, err := windows.OpenProcess(processRights, false, uint32(p.pid))
	switch {
	case errors.Is(err, windows.ERROR_INVALID_PARAMETER): // no such process
		return 0, nil
	case err != nil:
		return 0, err
	}
	if start, err := creation(h); err == nil && start != p.start {
		return 0, windows.CloseHandle(h)
	}
	return h, nil
}

// alive reports whether p runs. A process that we may not look at exists.
func (p process) alive() bool {
	h, err := p.open()
	if err != nil || h == 0 {
		return err != nil
	}
	defer windows.CloseHandle(h)
	got, err := windows.WaitForSingleObject(h, 0)
	return err != nil || got != windows.WAIT_OBJECT_0
}

// awaitDeath returns true once p has ended, and false when ctx ends first.
func awaitDeath(ctx context.Context, p process) bool {
	h, err := p.open()
	if err != nil { // it exists, but is not ours to wait for
		<-ctx.Done()
		return false
	}
	if h == 0 {
		return true
	}
	defer windows.CloseHandle(h)
	got, err := waitWith(ctx, h)
	return err == nil && got
}

// waitWith waits for h without a limit, and tells whether it is signalled (true) or
// ctx ended (false).
func waitWith(ctx context.Context, h windows.Handle) (bool, error) {
	cancel, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return false, err
	}
	defer windows.CloseHandle(cancel)
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		windows.SetEvent(cancel) //nolint:errcheck // open until told
	})
	defer func() {
		if !stop() {
			<-told
		}
	}()
	got, err := windows.WaitForMultipleObjects([]windows.Handle{h, cancel}, false, windows.INFINITE)
	return got == windows.WAIT_OBJECT_0, err
}
