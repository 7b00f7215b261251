//go:build linux || darwin

package shm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/session"
)

type named struct {
	session session.Session
	file    *os.File
	info    fs.FileInfo
	mapped  []byte
}

func openNamed(s session.Session, name string, size int) (*Named, bool, error) {
	dir, err := s.RuntimeDir()
	if err != nil {
		return nil, false, err
	}
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, fileMode)
	if err != nil {
		return nil, false, err
	}
	n, err := mapNamed(s, f, size)
	if err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	return n, false, nil
}

// find tells where the memory called name is. It makes nothing, so that looking does
// not bring back a directory that the system has just removed.
func find(s session.Session, name string) (string, error) {
	dir, err := s.FindRuntimeDir()
	return filepath.Join(dir, name), err
}

func mapNamed(s session.Session, f *os.File, size int) (*Named, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a plain file (%s); remove it", session.ErrUnsafe, f.Name(), info.Mode())
	}
	if err := grow(f, info.Size(), int64(size)); err != nil {
		return nil, err
	}
	size = max(size, int(info.Size()))
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &Named{b: b, impl: named{session: s, file: f, info: info, mapped: b}}, nil
}

// grow appends zeros by writing them, so that a full file system refuses here and
// does not kill whoever touches the page later. A file is never made smaller:
// others may have it mapped.
func grow(f *os.File, have, want int64) error {
	if have >= want {
		return nil
	}
	_, err := f.WriteAt(make([]byte, want-have), have)
	return err
}

func (n *named) check() error {
	path, err := find(n.session, filepath.Base(n.file.Name()))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	now, err := os.Lstat(path)
	if err != nil || !os.SameFile(now, n.info) {
		return fmt.Errorf("%w: %s is not the file that was joined", ErrGone, path)
	}
	return nil
}

func (n *named) close() error {
	return errors.Join(unix.Munmap(n.mapped), n.file.Close())
}

// File is the file behind the memory, which wakes whoever watches it for writes.
// It belongs to n.
func (n *Named) File() *os.File { return n.impl.file }

func readNamed(s session.Session, name string, buf []byte) (int, error) {
	path, err := find(s, name)
	if err != nil {
		return 0, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := io.ReadFull(f, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}
