package session

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The login manager makes /run/user/UID first and mounts over it a moment later,
// of which inotify says nothing: look again after these times.
const (
	soon     = 200 * time.Millisecond
	later    = 2 * time.Second
	backstop = 30 * time.Second
)

// watch returns true once present is false, and false when ctx ends first. It
// sleeps in the kernel: inotify reports changes of the directories on the way.
func watch(ctx context.Context, path string, present func() bool) bool {
	events, err := inotify(path)
	if err != nil {
		// The user's inotify instances are used up.
		return poll(ctx, later, present)
	}
	defer events.Close()
	defer context.AfterFunc(ctx, func() { events.Close() })()
	buf := make([]byte, 16<<10)
	waits := []time.Duration{soon, later}
	for present() {
		wait := backstop
		if len(waits) > 0 {
			wait, waits = waits[0], waits[1:]
		}
		if events.SetReadDeadline(time.Now().Add(wait)) != nil {
			return false
		}
		switch _, err := events.Read(buf); {
		case err == nil:
			waits = []time.Duration{soon, later}
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return false
		}
	}
	return true
}

// inotify watches the file, the directories above it that belong to the session,
// and /run/user, where a runtime directory may appear at login.
func inotify(path string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	const gone = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	const children = gone | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_ONLYDIR
	dir := filepath.Dir(path)
	root := filepath.Dir(dir)
	watches := map[string]uint32{
		path: gone, dir: children, root: children, filepath.Dir(root): children,
		"/run/user": children | unix.IN_CREATE,
	}
	for name, mask := range watches {
		_, err := unix.InotifyAddWatch(fd, name, mask)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, errors.Join(os.NewSyscallError("inotify_add_watch", err), unix.Close(fd))
		}
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}
