package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// dirServer keeps objects as files, so that it outlives the process that uses
// it: a server for tests that kill. step, when set, is called before and after
// everything that changes it.
type dirServer struct {
	dir  string
	step func(name string)
}

func (d dirServer) at(name string) {
	if d.step != nil {
		d.step(name)
	}
}

func (d dirServer) part(o Object) string  { return filepath.Join(d.dir, o.ID+".part") }
func (d dirServer) final(o Object) string { return filepath.Join(d.dir, o.ID) }

func (d dirServer) Begin(_ context.Context, o Object) (Handle, error) {
	d.at("before begin")
	defer d.at("after begin")
	return Handle(d.part(o)), os.WriteFile(d.part(o), nil, 0o600)
}

func (d dirServer) Open(_ context.Context, o Object, h Handle, limit int64) (Upload, error) {
	if string(h) != d.part(o) {
		return nil, fmt.Errorf("handle %q: %w", h, ErrGone)
	}
	f, err := os.OpenFile(d.part(o), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	} else if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil && size > limit {
		if err = f.Truncate(limit); err == nil {
			size, err = f.Seek(limit, io.SeekStart)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &dirUpload{d, f, size}, nil
}

type dirUpload struct {
	d      dirServer
	f      *os.File
	offset int64
}

func (u *dirUpload) Offset() int64 { return u.offset }
func (u *dirUpload) Close() error  { return u.f.Close() }

// Write is interrupted in its middle, too.
func (u *dirUpload) Write(b []byte) (int, error) {
	n, err := u.f.Write(b[:len(b)/2])
	if err == nil {
		u.d.at("in a write")
		var m int
		m, err = u.f.Write(b[n:])
		n += m
	}
	return n, err
}

func (d dirServer) Commit(_ context.Context, o Object, _ Handle) error {
	d.at("before commit")
	defer d.at("after commit")
	if _, err := os.Stat(d.final(o)); err == nil {
		return nil
	}
	return os.Rename(d.part(o), d.final(o))
}

func (d dirServer) Abort(_ context.Context, o Object, _ Handle) error {
	d.at("before abort")
	defer d.at("after abort")
	for _, path := range []string{d.part(o), d.final(o)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (d dirServer) ReadAt(_ context.Context, o Object, _ Handle, offset, n int64) (io.ReadCloser, error) {
	f, err := os.Open(d.part(o))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(d.final(o))
	}
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, offset, n), f}, nil
}
