package session

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func TestWatchSeesTheDirectoryGo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("objects die with the session on Windows")
	}
	steps := map[string]func(base, path string) error{
		"file removed":       func(_, path string) error { return os.Remove(path) },
		"file replaced":      func(_, path string) error { return replace(path) },
		"directory removed":  func(_, path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"base renamed":       func(base, _ string) error { return os.Rename(base, base+"-old") },
		"everything removed": func(base, _ string) error { return os.RemoveAll(base) },
	}
	for name, lose := range steps {
		t.Run(name, func(t *testing.T) {
			base := filepath.Join(t.TempDir(), "run")
			t.Setenv("BERTH_RUNTIME", base)
			s, path, info := watched(t)
			w := s.Watch(path, info)
			defer w.Close()
			if err := lose(base, path); err != nil {
				t.Fatal(err)
			}
			select {
			case <-w.Lost():
			case <-time.After(60 * time.Second):
				t.Fatal("the loss went unnoticed")
			}
		})
	}
}

func TestWatchIsQuietWhileNothingIsLost(t *testing.T) {
	t.Setenv("BERTH_RUNTIME", filepath.Join(t.TempDir(), "run"))
	s, path, info := watched(t)
	w := s.Watch(path, info)
	// Neighbours come and go, and the file is written to.
	for range 20 {
		other := path + "-neighbour"
		if err := os.WriteFile(other, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(other); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Close()
	select {
	case <-w.Lost():
		t.Error("reported a loss without one")
	default:
	}
}

func watched(t *testing.T) (Session, string, os.FileInfo) {
	t.Helper()
	s, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := s.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return s, path, info
}

func replace(path string) error {
	if err := os.WriteFile(path+"-new", nil, 0o600); err != nil {
		return err
	}
	return os.Rename(path+"-new", path)
}
