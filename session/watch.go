package session

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Watch tells when a file in the runtime directory is no longer the one that
// others find there. That happens when the system removes the directory after the
// user's last logout while this process lives on: the next process of the user
// makes a new directory, and a lock on the old file excludes nobody any more.
type Watch struct {
	lost chan struct{}
	stop context.CancelFunc
	done chan struct{}
}

// Watch starts to watch path, which must be the file that info describes. Close
// the result to end it. On Windows objects live in the session and die with it, so
// there Lost never answers.
func (s Session) Watch(path string, info fs.FileInfo) *Watch {
	ctx, stop := context.WithCancel(context.Background())
	w := &Watch{lost: make(chan struct{}), stop: stop, done: make(chan struct{})}
	root, _ := s.runtimeRoot(s.verifyPrivate)
	present := func() bool { return s.present(path, info, root) }
	go func() {
		defer close(w.done)
		if watch(ctx, path, present) {
			close(w.lost)
		}
	}()
	return w
}

// Lost is closed when the file is gone or has been replaced.
func (w *Watch) Lost() <-chan struct{} { return w.lost }

// Close ends the watch. Lost is not closed by it.
func (w *Watch) Close() {
	w.stop()
	<-w.done
}

// present reports whether path is still that file, and, if it lies in the runtime
// directory, still where a process that starts now would look. A root that cannot be
// told at the moment is no loss: the file itself decides.
func (s Session) present(path string, info fs.FileInfo, root string) bool {
	now, err := os.Lstat(path)
	if err != nil || !os.SameFile(now, info) {
		return false
	}
	if !strings.HasPrefix(path, root+string(filepath.Separator)) {
		return true
	}
	moved, err := s.runtimeRoot(s.verifyPrivate)
	return err != nil || moved == root
}
