package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"berth/session"
)

// logLimit is how large a log grows before it becomes the one previous log.
const logLimit = 4 << 20

// openLog opens the log of s. Lines also go to extra, unless it is nil.
func openLog(s session.Session, extra io.Writer) (*slog.Logger, io.Closer, error) {
	dir, err := s.StateDir()
	if err != nil {
		return nil, nil, err
	}
	f := &rotatingFile{path: logPath(dir, s)}
	if err := f.open(); err != nil {
		return nil, nil, err
	}
	var w io.Writer = f
	if extra != nil {
		w = io.MultiWriter(f, extra)
	}
	return slog.New(slog.NewTextHandler(w, nil)), f, nil
}

func logPath(stateDir string, s session.Session) string {
	return filepath.Join(stateDir, "controller-"+s.Key()+".log")
}

// rotatingFile is a file that is renamed to path.1 once it is full, so that a
// log takes twice logLimit at most.
type rotatingFile struct {
	path string

	mu   sync.Mutex // guards what follows
	file *os.File
	size int64
}

func (r *rotatingFile) open() error {
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r.file, r.size = f, info.Size()
	return nil
}

func (r *rotatingFile) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return 0, os.ErrClosed
	}
	if r.size+int64(len(line)) > logLimit {
		if err := r.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := r.file.Write(line)
	r.size += int64(n)
	return n, err
}

// rotate closes first: Windows renames no open file.
func (r *rotatingFile) rotate() error {
	err := r.file.Close()
	r.file = nil
	return errors.Join(err, os.Rename(r.path, r.path+".1"), r.open())
}

func (r *rotatingFile) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}
