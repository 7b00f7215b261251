package session

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	cases := []struct {
		in, want string
		ok       bool
	}{
		{"work", "work", true},
		{"Work", "work", true},
		{"a.b_c-9", "a.b_c-9", true},
		{"default", "", true},
		{"_x", "_x", true},
		{strings.Repeat("x", 32), strings.Repeat("x", 32), true},
		{strings.Repeat("x", 33), "", false},
		{".hidden", "", false},
		{"-option", "", false},
		{"dot.", "", false},
		{"..", "", false},
		{"a/b", "", false},
		{`a\b`, "", false},
		{"a b", "", false},
		{"ümlaut", "", false},
		{"a\x00b", "", false},
		{"con", "", false},
		{"NUL.txt", "", false},
		{"com1", "", false},
		{"com10", "com10", true},
		{"console", "console", true},
	}
	t.Setenv("BERTH_SESSION", "")
	for _, c := range cases {
		s, err := Named(c.in)
		if (err == nil) != c.ok || s.Name() != c.want {
			t.Errorf("Named(%q) = %q, %v; want %q, ok %v", c.in, s.Name(), err, c.want, c.ok)
		}
		if err != nil && !errors.Is(err, ErrName) {
			t.Errorf("Named(%q): %v does not wrap ErrName", c.in, err)
		}
	}
}

func TestEnvironmentNamesTheSession(t *testing.T) {
	t.Setenv("BERTH_SESSION", "seat2")
	current, err := Current()
	if err != nil || current.Name() != "seat2" || current.StoreKey() != "seat2" {
		t.Fatalf("Current() = %q, %v", current.Name(), err)
	}
	empty, _ := Named("")
	if empty != current {
		t.Errorf("Named(\"\") = %v, want %v", empty, current)
	}
	plain, _ := Named("default")
	if plain.Name() != "" || plain.StoreKey() != "default" || plain == current {
		t.Errorf("Named(\"default\") = %v", plain)
	}
	t.Setenv("BERTH_SESSION", "no/slash")
	if _, err := Current(); !errors.Is(err, ErrName) {
		t.Errorf("an unusable BERTH_SESSION gave %v", err)
	}
}

func TestSessionsDoNotMeet(t *testing.T) {
	t.Setenv("BERTH_RUNTIME", filepath.Join(t.TempDir(), "run"))
	t.Setenv("BERTH_SESSION", "")
	seen := map[string]string{}
	for _, name := range []string{"default", "work", "seat2"} {
		s, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		dir, err := s.RuntimeDir()
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{dir, s.Key(), s.String(), s.Object("app", "mutex"), s.Object("app", "event"), s.Object("other", "mutex")} {
			if other, taken := seen[id]; taken {
				t.Errorf("%s and %s share %s", name, other, id)
			}
			seen[id] = name
		}
		if strings.ContainsAny(s.Key(), `/\: `) {
			t.Errorf("key %q is not safe in a file name", s.Key())
		}
	}
}

func TestFindMakesNothing(t *testing.T) {
	base := filepath.Join(t.TempDir(), "run")
	t.Setenv("BERTH_RUNTIME", base)
	s, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	if dir, err := s.FindRuntimeDir(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before anybody: %s, %v", dir, err)
	}
	if _, err := os.Lstat(base); err == nil {
		t.Error("looking made the directory")
	}
	made, err := s.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	if found, err := s.FindRuntimeDir(); err != nil || found != made {
		t.Errorf("found %s, %v; made %s", found, err, made)
	}
}

func TestRuntimeOverrideMustBeAbsolute(t *testing.T) {
	t.Setenv("BERTH_RUNTIME", "relative")
	s, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	if dir, err := s.RuntimeDir(); err == nil {
		t.Errorf("a relative BERTH_RUNTIME gave %s", dir)
	}
}

func TestRuntimeDirOfTheSystem(t *testing.T) {
	t.Setenv("BERTH_RUNTIME", "")
	s, err := Named("session-test")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := s.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	again, err := s.RuntimeDir()
	if err != nil || again != dir {
		t.Errorf("second call: %s, %v; want %s", again, err, dir)
	}
	if strings.HasPrefix(dir, "/tmp") {
		t.Errorf("%s lies in the shared /tmp", dir)
	}
	t.Logf("%s: %s", s, dir)
}

func TestStateDir(t *testing.T) {
	want := filepath.Join(t.TempDir(), "deep", "state")
	t.Setenv("BERTH_STATE", want)
	s, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if dir, err := s.StateDir(); err != nil || dir != want {
			t.Fatalf("StateDir() = %s, %v", dir, err)
		}
	}
	if info, err := os.Stat(want); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v; want mode 0700", info.Mode(), err)
	}
}

func TestConfigDirIsNotMade(t *testing.T) {
	if runtime.GOOS == "linux" {
		t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	}
	s, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := s.ConfigDir()
	if err != nil || !filepath.IsAbs(dir) {
		t.Fatalf("ConfigDir() = %q, %v", dir, err)
	}
	if _, err := os.Stat(dir); runtime.GOOS == "linux" && err == nil {
		t.Errorf("%s was made", dir)
	}
}
