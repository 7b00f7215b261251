package session

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestControllerIsFoundWhereItWasRecorded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the place of the record can only be moved on Linux")
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	if path, err := Controller(); err == nil {
		t.Skipf("this machine has a controller at %s", path)
	} else if !errors.Is(err, ErrNoController) {
		t.Fatalf("without a controller: %v", err)
	}
	exe := filepath.Join(t.TempDir(), "controller")
	file, err := ControllerFile(false)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, exe+"\n", 0o600)
	if _, err := Controller(); !errors.Is(err, ErrNoController) {
		t.Errorf("a recorded path without a file: %v", err)
	}
	write(t, exe, "#!/bin/sh\n", 0o600)
	if _, err := Controller(); !errors.Is(err, ErrNoController) {
		t.Errorf("a recorded file that cannot run: %v", err)
	}
	if err := os.Chmod(exe, 0o700); err != nil {
		t.Fatal(err)
	}
	if path, err := Controller(); err != nil || path != exe {
		t.Errorf("Controller() = %s, %v; want %s", path, err, exe)
	}
}

func TestControllerBesideTheCaller(t *testing.T) {
	if runtime.GOOS == "linux" {
		t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	beside := filepath.Join(filepath.Dir(self), controllerName())
	write(t, beside, "x", 0o700)
	defer os.Remove(beside)
	found := controllerCandidates()
	if last := found[len(found)-1]; last != beside {
		t.Errorf("last candidate %s, want %s", last, beside)
	}
	if err := executable(beside); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
