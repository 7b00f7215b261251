package installer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"berth/session"

	"golang.org/x/sys/windows/registry"
)

// scratch is a Run value in a key of the test's own, so that the tests never
// touch what starts at a developer's logon.
func scratch(t *testing.T) runValue {
	t.Helper()
	base := `Software\Berth test ` + filepath.Base(t.TempDir())
	v := runValue{root: registry.CURRENT_USER, run: base + `\Run`, approved: base + `\Approved`}
	t.Cleanup(func() {
		for _, path := range []string{v.run, v.approved, base} {
			if err := registry.DeleteKey(v.root, path); err != nil && !errors.Is(err, registry.ErrNotExist) {
				t.Error(err)
			}
		}
	})
	return v
}

func TestRunValue(t *testing.T) {
	v := scratch(t)
	exe := `C:\Program Files\Berth\controller.exe`
	expect := func(what string, wantExists, wantRight bool) {
		t.Helper()
		exists, right, err := v.check(exe)
		if err != nil || exists != wantExists || right != wantRight {
			t.Errorf("%s: exists %v, right %v, %v", what, exists, right, err)
		}
	}
	expect("at first", false, false)
	if err := v.drop(); err != nil {
		t.Errorf("dropping nothing: %v", err)
	}
	for range 2 {
		if err := v.put(exe); err != nil {
			t.Fatal(err)
		}
		expect("put", true, true)
	}
	if err := v.put(`C:\other.exe`); err != nil {
		t.Fatal(err)
	}
	expect("of another program", true, false)
	if err := v.put(exe); err != nil {
		t.Fatal(err)
	}
	forbid(t, v, 3)
	expect("switched off in the Task Manager", true, false)
	forbid(t, v, 2)
	expect("switched on again", true, true)
	for range 2 {
		if err := v.drop(); err != nil {
			t.Fatal(err)
		}
		expect("dropped", false, false)
	}
	k, err := registry.OpenKey(v.root, v.approved, registry.QUERY_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if _, _, err := k.GetBinaryValue(runName); !errors.Is(err, registry.ErrNotExist) {
		t.Errorf("the note of the Task Manager is left: %v", err)
	}
}

func forbid(t *testing.T, v runValue, first byte) {
	t.Helper()
	k, _, err := registry.CreateKey(v.root, v.approved, registry.SET_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err := k.SetBinaryValue(runName, append([]byte{first}, make([]byte, 11)...)); err != nil {
		t.Fatal(err)
	}
}

func TestTrusted(t *testing.T) {
	program := os.Getenv("ProgramFiles")
	for path, ok := range map[string]bool{
		program + `\Berth\controller.exe`:       true,
		program + `\..\Users\u\controller.exe`:  false,
		program + `2\controller.exe`:            false,
		`C:\Users\Public\Berth\controller.exe`:  false,
		program + `\Berth\..\..\controller.exe`: false,
	} {
		if err := trusted(filepath.Clean(path)); (err == nil) != ok || err != nil && !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestInstallOnThisMachine does the real thing, which is right only where the
// registry is thrown away afterwards.
func TestInstallOnThisMachine(t *testing.T) {
	if os.Getenv("WINEPREFIX") == "" {
		t.Skip("it would change what starts at this user's logon: run it under wine")
	}
	for _, allUsers := range []bool{false, true} {
		dir := t.TempDir()
		if allUsers {
			dir = filepath.Join(os.Getenv("ProgramFiles"), "Berth test")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
		}
		exe := filepath.Join(dir, "controller.exe")
		if err := os.WriteFile(exe, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		o := Options{AllUsers: allUsers, Executable: exe}
		checkInstall(t, o)
	}
}

func checkInstall(t *testing.T, o Options) {
	t.Helper()
	for range 2 {
		if err := Install(o); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := Status(o); err != nil || !s.Installed() || s.Executable != o.Executable || len(s.Places) != 2 {
		t.Errorf("%+v %v", s, err)
	}
	if got, err := session.Controller(); err != nil || got != o.Executable {
		t.Errorf("session.Controller() = %q, %v; want %q", got, err, o.Executable)
	}
	for range 2 {
		if err := Uninstall(o); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := Status(o); err != nil || len(s.Places) > 0 || s.Executable != "" {
		t.Errorf("left: %+v %v", s, err)
	}
}
