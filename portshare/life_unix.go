//go:build linux || darwin

package portshare

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"berth/session"
)

// life is this process's part in the record's life: a shared lock on a file of its
// own, held from Join to Close.
type life struct {
	path string
	lock *flock.Flock
}

// enter takes part, under the gate, and tells whether nobody else did: then the bytes of the record
// are leftovers of processes that have ended.
//
// Exclusive and shared are taken on two objects: converting one lock would leave
// the library's idea of it wrong. The moment between the two is safe because
// everybody who looks at this lock has the gate; and if this process dies in it, the
// next one is first.
func enter(s session.Session, app string, _ bool) (*life, bool, error) {
	path, err := lifePath(s, app)
	if err != nil {
		return nil, false, err
	}
	first, err := vacant(path)
	if err != nil {
		return nil, false, err
	}
	l := &life{path: path, lock: open(path)}
	ok, err := l.lock.TryRLock()
	if err == nil && !ok {
		err = errors.New("somebody holds it without the gate")
	}
	if err != nil {
		return nil, false, fmt.Errorf("lock %s: %w", path, err)
	}
	return l, first, nil
}

// leave ends this process's part, and tells whether it was the last. Nobody may
// probe the lock without the gate, see enter.
func (l *life) leave(gated bool) (last bool, err error) {
	if err := l.lock.Unlock(); err != nil || !gated {
		return false, err
	}
	return vacant(l.path)
}

// abandoned reports whether nobody takes part.
func abandoned(s session.Session, app string) (bool, error) {
	path, err := lifePath(s, app)
	if err != nil {
		return false, err
	}
	return vacant(path)
}

// nowhere reports whether the session has no runtime directory, so that an observer
// need not make one.
func nowhere(s session.Session) bool {
	_, err := s.FindRuntimeDir()
	return errors.Is(err, fs.ErrNotExist)
}

func lifePath(s session.Session, app string) (string, error) {
	dir, err := s.RuntimeDir()
	return filepath.Join(dir, app+".life"), err
}

func open(path string) *flock.Flock {
	return flock.New(path, flock.SetFlag(unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW), flock.SetPermissions(lockMode))
}

// vacant locks the file exclusively for a moment, which succeeds when nobody has it.
func vacant(path string) (bool, error) {
	probe := open(path)
	ok, err := probe.TryLock()
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", path, err)
	}
	return ok, probe.Unlock()
}
