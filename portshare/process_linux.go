package portshare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ownStart is the start time of this process. It is asked as "self": in a process id
// namespace that has the outer /proc mounted, our own number is another's there.
func ownStart() (uint64, error) {
	stat, err := readStat("self")
	return stat.start, err
}

// startTime is field 22 of /proc/PID/stat: clock ticks since boot.
func startTime(pid int) (uint64, error) {
	stat, err := readStat(strconv.Itoa(pid))
	return stat.start, err
}

// foreignProc reports whether /proc shows another process id namespace than ours, so
// that numbers in it mean nothing to us.
func foreignProc() bool {
	own, err := os.Readlink("/proc/self")
	return err != nil || own != strconv.Itoa(os.Getpid())
}

type procStat struct {
	state byte
	start uint64
}

func readStat(pid string) (procStat, error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return procStat{}, err
	}
	return parseStat(text)
}

// parseStat reads /proc/PID/stat. The second field is the program's name in
// parentheses, and the name may itself hold spaces and parentheses.
func parseStat(text []byte) (procStat, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 || len(fields[0]) != 1 {
		return procStat{}, fmt.Errorf("stat of a process: %q", text)
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	return procStat{state: fields[0][0], start: start}, err
}

func pidNamespace() uint32 {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/pid", &st) != nil {
		return 0
	}
	return uint32(st.Ino)
}

// alive reports whether p runs. A zombie does not: it is only waiting for its
// parent to take notice.
func (p process) alive() bool {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return false
	}
	if err == nil {
		defer unix.Close(fd)
	}
	// The pidfd is open before the start time is read: what it names cannot be
	// exchanged any more, so a start time that fits is its own.
	stat, statErr := readStat(strconv.Itoa(p.pid))
	switch {
	case foreignProc():
		return err != nil || !exited(fd)
	case statErr != nil || stat.start != p.start:
		return false
	case err != nil: // no pidfds on this kernel, or no descriptor free
		return stat.state != 'Z' && stat.state != 'X'
	}
	return !exited(fd)
}

// exited reports whether all threads of the process behind a pidfd have ended.
func exited(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}

// awaitDeath returns true once p has ended, and false when ctx ends first. It
// sleeps in the runtime's poller and takes no thread.
func awaitDeath(ctx context.Context, p process) bool {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return pollDeath(ctx, p)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return errors.Join(err, unix.Close(fd)) != nil && pollDeath(ctx, p)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	if !p.alive() {
		return true
	}
	defer context.AfterFunc(ctx, func() { f.Close() })()
	conn, err := f.SyscallConn()
	if err == nil {
		err = conn.Read(func(fd uintptr) bool { return exited(int(fd)) })
	}
	if err != nil && ctx.Err() == nil {
		return pollDeath(ctx, p)
	}
	return err == nil
}

// pollDeath is for kernels without pidfds (before 5.3) and full descriptor tables.
func pollDeath(ctx context.Context, p process) bool {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for p.alive() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
