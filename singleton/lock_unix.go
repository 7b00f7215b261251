//go:build linux || darwin

package singleton

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"berth/session"
)

// fileLock holds an exclusive flock. The file is never removed: whoever unlocked
// and then removed it would leave two owners, one on each file of that name.
type fileLock struct {
	session session.Session
	file    *flock.Flock
	info    fs.FileInfo

	mu       sync.Mutex
	watch    *session.Watch
	released bool
}

func acquire(s session.Session, app string, o options) (holder, error) {
	for {
		path, flag, err := place(s, app, o)
		if err != nil {
			return nil, err
		}
		l := &fileLock{session: s, file: flock.New(path, flock.SetFlag(flag), flock.SetPermissions(mode(o)))}
		if err := l.take(o.wait); err != nil {
			return nil, err
		}
		// Between opening and locking the runtime directory may have been
		// exchanged. Then this is a lock that nobody else will ever meet.
		if l.check() == nil {
			return l, nil
		}
		if err := l.release(); err != nil {
			return nil, err
		}
	}
}

// place tells which file to lock and how to open it.
func place(s session.Session, app string, o options) (path string, flag int, err error) {
	if !o.machine {
		dir, err := s.RuntimeDir()
		return filepath.Join(dir, app+".lock"), os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW, err
	}
	dir, err := s.MachineDir()
	if err != nil {
		return "", 0, err
	}
	path = filepath.Join(dir, "berth-"+app+".lock")
	return path, os.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK, makeShared(path)
}

// makeShared makes the machine's lock file unless it is there. Everybody may read
// it, which suffices to lock it, and O_CREATE is kept off the later open: Linux
// refuses it in sticky directories for files of others (fs.protected_regular).
func makeShared(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o644), f.Close())
}

// take locks the file, waiting when wait is set.
func (l *fileLock) take(wait context.Context) error {
	free, err := l.file.TryLock()
	if err == nil && !free {
		err = ErrHeld
		if wait != nil {
			err = l.block(wait)
		}
	}
	if errors.Is(err, ErrHeld) {
		return fmt.Errorf("lock %s: %w%s", l.file.Path(), err, heldBy(l.file.Path()))
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", l.file.Path(), err)
	}
	l.info, err = l.file.Stat()
	if err == nil && !l.info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a plain file (%s)", session.ErrUnsafe, l.file.Path(), l.info.Mode())
	}
	return err
}

// block waits in the kernel, first come first served. A wait in flock cannot be
// called off: when ctx ends first, the goroutine stays until the lock is free and
// then gives it back.
func (l *fileLock) block(ctx context.Context) error {
	locked := make(chan error, 1)
	go func() { locked <- l.lock() }()
	select {
	case err := <-locked:
		return err
	case <-ctx.Done():
		go func() {
			if <-locked == nil {
				l.file.Unlock() //nolint:errcheck // nobody waits for it any more
			}
		}()
		return fmt.Errorf("%w (%w)", ErrHeld, context.Cause(ctx))
	}
}

// lock waits in flock. A host program's signal handler may interrupt that.
func (l *fileLock) lock() error {
	for {
		if err := l.file.Lock(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (l *fileLock) check() error {
	now, err := os.Lstat(l.file.Path())
	if err != nil || !os.SameFile(now, l.info) {
		return fmt.Errorf("%w: %s is not the file that was locked", ErrLost, l.file.Path())
	}
	return nil
}

func (l *fileLock) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watch != nil {
		l.watch.Close()
	}
	l.released = true
	return l.file.Unlock()
}

func (l *fileLock) lost() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watch == nil && l.released {
		return nil
	}
	if l.watch == nil {
		l.watch = l.session.Watch(l.file.Path(), l.info)
	}
	return l.watch.Lost()
}
