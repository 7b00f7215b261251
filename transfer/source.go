package transfer

import (
	"os"
	"path/filepath"
	"time"
)

// source is what a file was when it was added. All of it must still hold
// whenever the file is opened or has been read to its end.
type source struct {
	size     int64
	modTime  time.Time
	identity string
}

// inspect answers what an open regular file is now.
func inspect(f *os.File) (source, error) {
	info, err := f.Stat()
	if err != nil {
		return source{}, err
	}
	if info.IsDir() {
		return source{}, advise(ErrSource, nil, "%s is a directory. Add the files in it one by one, or pack it first.", f.Name())
	}
	if !info.Mode().IsRegular() {
		return source{}, advise(ErrSource, nil, "%s is not a regular file. Only regular files can be sent.", f.Name())
	}
	id, err := identity(f, info)
	return source{info.Size(), info.ModTime(), id}, err
}

// openSource opens a regular file for reading and says what it is. It never
// blocks on a named pipe: those are refused before they are opened.
func openSource(path string) (*os.File, source, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, source{}, sourceError(path, err)
	} else if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, source{}, advise(ErrSource, nil, "%s is not a regular file. Only regular files can be sent.", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, source{}, sourceError(path, err)
	}
	s, err := inspect(f)
	if err != nil {
		f.Close()
		if permanent(err) {
			return nil, source{}, err
		}
		return nil, source{}, sourceError(path, err)
	}
	return f, s, nil
}

func (s source) equal(o source) bool {
	return s.size == o.size && s.modTime.Equal(o.modTime) && s.identity == o.identity
}

// changed says how a file differs from what was added.
func (s source) changed(path string, now source) error {
	what := "was written to"
	switch {
	case s.identity != now.identity:
		what = "was replaced by another file"
	case s.size < now.size:
		what = "has grown"
	case s.size > now.size:
		what = "has become shorter"
	}
	return advise(ErrSource, nil, "%s %s after it was added, so what would arrive is not what was accepted. Retry to send the file as it is now, or cancel.", path, what)
}

// absolute resolves a path that a person gave, so that it outlives the working
// directory of this process.
func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", sourceError(path, err)
	}
	return abs, nil
}
