package portshare

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// zombie is SZOMB of <sys/proc.h>.
const zombie = 5

// startTime is p_starttime in microseconds since 1970.
func startTime(pid int) (uint64, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0, err
	}
	if int(info.Proc.P_pid) != pid {
		return 0, unix.ESRCH
	}
	at := info.Proc.P_starttime
	return uint64(at.Sec)*1_000_000 + uint64(at.Usec), nil
}

func ownStart() (uint64, error) { return startTime(os.Getpid()) }

func pidNamespace() uint32 { return 0 }

// alive reports whether p runs. A zombie does not: it is only waiting for its
// parent to take notice.
func (p process) alive() bool {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", p.pid)
	if err != nil || int(info.Proc.P_pid) != p.pid || info.Proc.P_stat == zombie {
		return false
	}
	start, err := startTime(p.pid)
	return err == nil && start == p.start
}

// awaitDeath returns true once p has ended, and false when ctx ends first.
func awaitDeath(ctx context.Context, p process) bool {
	q, err := newQueue()
	if err != nil {
		<-ctx.Done()
		return false
	}
	defer q.close()
	exit := unix.Kevent_t{Fflags: unix.NOTE_EXIT}
	unix.SetKevent(&exit, p.pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	if err := q.add(exit); errors.Is(err, unix.ESRCH) {
		return true
	} else if err != nil {
		<-ctx.Done()
		return false
	}
	// The filter is bound before the start time is read: what it watches cannot
	// be exchanged any more.
	if !p.alive() {
		return true
	}
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		q.interrupt()
	})
	interrupted := q.wait()
	if !stop() {
		<-told
	}
	return !interrupted
}
