package installer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// file is an entry that is one text file.
type file struct {
	path    string
	content func(executable string) string
	dropDir bool   // whether to remove its directory too, once that is empty
	refuse  string // characters that its readers cannot take in the executable's path
}

func (f file) place() string { return f.path }

// put writes the file whole or not at all: a session that starts meanwhile
// reads the old text or the new one.
func (f file) put(executable string) error {
	if strings.ContainsAny(executable, f.refuse) {
		return fmt.Errorf("the controller's path %s must have none of the characters %s; move it to a plain path", executable, f.refuse)
	}
	text := []byte(f.content(executable))
	if old, err := os.ReadFile(f.path); err == nil && string(old) == string(text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(f.path), ".berth-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := fill(tmp, text); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), f.path)
}

// fill writes, makes readable for everybody, syncs and closes.
func fill(f *os.File, text []byte) error {
	_, err := f.Write(text)
	return errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
}

func (f file) drop() error {
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f.dropDir {
		_ = os.Remove(filepath.Dir(f.path)) // refused unless it is empty
	}
	return nil
}

func (f file) check(executable string) (exists, right bool, err error) {
	text, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	return err == nil, string(text) == f.content(executable), err
}
