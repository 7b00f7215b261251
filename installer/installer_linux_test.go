package installer

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/session"
)

// newHome gives the test a home directory of its own, and a controller in it
// whose name needs every kind of quoting.
func newHome(t *testing.T) (home, controller string) {
	t.Helper()
	home = t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	controller = filepath.Join(t.TempDir(), "a `b` $c \"d\" \\e ü")
	writeProgram(t, controller, "#!/bin/sh\nprintf '%s\\n' \"$0\" \"$@\" > \"$OUT\"\n")
	return home, controller
}

func writeProgram(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// tree lists everything below a directory.
func tree(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		out = append(out, strings.TrimPrefix(p, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestInstallForOneUser(t *testing.T) {
	home, controller := newHome(t)
	o := Options{Executable: controller}
	before := tree(t, home)
	if s, err := Status(o); err != nil || s.Installed() || len(s.Places) > 0 {
		t.Errorf("at first: %+v %v", s, err)
	}
	for range 2 {
		if err := Install(o); err != nil {
			t.Fatal(err)
		}
		want := append(slices.Clone(before), "/.config", "/.config/autostart", "/.config/autostart/berth.desktop", "/.config/berth", "/.config/berth/controller.path")
		if got := tree(t, home); !slices.Equal(got, want) {
			t.Errorf("made %q, want %q", got, want)
		}
		if s, err := Status(o); err != nil || !s.Installed() || s.Executable != controller {
			t.Errorf("installed: %+v %v", s, err)
		}
	}
	if got, err := session.Controller(); err != nil || got != controller {
		t.Errorf("session.Controller() = %q, %v; want %q", got, err, controller)
	}
	for range 2 {
		if err := Uninstall(o); err != nil {
			t.Fatal(err)
		}
	}
	if got := tree(t, home); !slices.Equal(got, append(before, "/.config")) {
		t.Errorf("left %q", got)
	}
}

// TestDesktopEntryStarts holds the entry against the specification's own
// checker and starts it with GLib, as desktops do.
func TestDesktopEntryStarts(t *testing.T) {
	home, controller := newHome(t)
	if err := Install(Options{Executable: controller}); err != nil {
		t.Fatal(err)
	}
	entry := filepath.Join(home, ".config/autostart/berth.desktop")
	validate, err := exec.LookPath("desktop-file-validate")
	if err != nil {
		t.Skip("desktop-file-validate is not installed: make deps")
	}
	if out, err := exec.Command(validate, entry).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("desktop-file-validate: %v\n%s", err, out)
	}
	gio, err := exec.LookPath("gio")
	if err != nil {
		t.Skip("gio is not installed: make deps")
	}
	said := filepath.Join(home, "said")
	if err := syscall.Mkfifo(said, 0o600); err != nil {
		t.Fatal(err)
	}
	launch := exec.Command(gio, "launch", entry)
	launch.Env = append(os.Environ(), "OUT="+said)
	launch.Stderr = os.Stderr // no pipes: the program inherits them and waits for a reader of its own
	if err := launch.Run(); err != nil {
		t.Fatalf("gio launch: %v", err)
	}
	if got, err := os.ReadFile(said); err != nil || string(got) != controller+"\nrun\n" {
		t.Errorf("it was started as %q, %v", got, err)
	}
}

// TestExecQuote undoes the quoting step by step as the specification words it.
func TestExecQuote(t *testing.T) {
	for _, arg := range []string{"/bin/x", "/a b/c", `/q"q`, "/b`b", "/d$HOME", `/s\n`, `/e\"$` + "`"} {
		if got := unquote(t, execQuote(arg)); got != arg {
			t.Errorf("%q became %q", arg, got)
		}
	}
	if got, want := execQuote(`\`), `"\\\\"`; got != want {
		t.Errorf("a backslash is written %s, want %s", got, want)
	}
	if got, want := execQuote(`$`), `"\\$"`; got != want {
		t.Errorf("a dollar sign is written %s, want %s", got, want)
	}
}

func unquote(t *testing.T, value string) string {
	t.Helper()
	s := strings.ReplaceAll(value, `\\`, `\`) // the rule for strings
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		t.Fatalf("%s is not quoted", value)
	}
	var out strings.Builder
	for i, body := 0, s[1:len(s)-1]; i < len(body); i++ {
		switch c := body[i]; c {
		case '"', '`', '$':
			t.Fatalf("%q stands bare in %s", c, value)
		case '\\':
			i++
			out.WriteByte(body[i])
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

func TestRepair(t *testing.T) {
	home, controller := newHome(t)
	o := Options{Executable: controller}
	if err := Install(o); err != nil {
		t.Fatal(err)
	}
	entry := filepath.Join(home, ".config/autostart/berth.desktop")
	for name, damage := range map[string]func() error{
		"entry gone":    func() error { return os.Remove(entry) },
		"entry changed": func() error { return os.WriteFile(entry, []byte("[Desktop Entry]\nExec=other\n"), 0o600) },
		"record gone":   func() error { return os.Remove(filepath.Join(home, ".config/berth/controller.path")) },
		"record elsewhere": func() error {
			return os.WriteFile(filepath.Join(home, ".config/berth/controller.path"), []byte("/nowhere\n"), 0o600)
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if s, err := Status(o); err != nil || s.Installed() || len(s.Problems) == 0 {
			t.Errorf("%s: %+v %v", name, s, err)
		}
		if err := Install(o); err != nil {
			t.Fatal(err)
		}
		if s, err := Status(o); err != nil || !s.Installed() {
			t.Errorf("%s, repaired: %+v %v", name, s, err)
		}
	}
	if err := os.Remove(controller); err != nil {
		t.Fatal(err)
	}
	if s, err := Status(o); err != nil || s.Installed() || len(s.Problems) != 1 {
		t.Errorf("without the controller: %+v %v", s, err)
	}
	if err := Uninstall(o); err != nil {
		t.Errorf("uninstall without the controller: %v", err)
	}
}

func TestBadExecutables(t *testing.T) {
	home, _ := newHome(t)
	plain := filepath.Join(home, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	broken, percent := filepath.Join(home, "line\nbreak"), filepath.Join(home, "100%")
	writeProgram(t, broken, "")
	writeProgram(t, percent, "")
	for name, exe := range map[string]string{
		"relative": "bin/controller", "missing": filepath.Join(home, "none"), "no program": plain, "a directory": home, "line break": broken, "percent sign": percent,
	} {
		if err := Install(Options{Executable: exe}); err == nil {
			t.Errorf("%s: installed", name)
		}
	}
	if got := tree(t, home); len(got) != 4 {
		t.Errorf("a refused installation left %q", got)
	}
}

// TestInstallForAllUsers stages an installation into an image.
func TestInstallForAllUsers(t *testing.T) {
	newHome(t)
	if os.Getuid() != 0 {
		t.Skip("installing for all users takes root")
	}
	root := t.TempDir()
	o := Options{AllUsers: true, Root: root, Executable: "/bin/sh"}
	if err := Install(o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "etc/xdg/autostart/berth.desktop"))
	if err != nil || !bytes.Contains(text, []byte("\nExec=\"/bin/sh\" run\n")) {
		t.Errorf("%s %v", text, err)
	}
	if s, err := Status(o); err != nil || !s.Installed() || s.Executable != "/bin/sh" {
		t.Errorf("%+v %v", s, err)
	}
	if err := Uninstall(o); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, root); !slices.Equal(got, []string{"", "/etc", "/etc/xdg", "/etc/xdg/autostart"}) {
		t.Errorf("left %q", got)
	}
}

// TestAllUsersRunNoStrangersProgram: what every user of a machine runs must not
// be replaceable by one of them.
func TestAllUsersRunNoStrangersProgram(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("installing for all users takes root")
	}
	root, dir := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // up to the sticky /tmp
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	exe := filepath.Join(dir, "controller")
	writeProgram(t, exe, "")
	o := Options{AllUsers: true, Root: root, Executable: exe}
	if err := Install(o); err != nil {
		t.Fatalf("all of it is root's: %v", err)
	}
	steps := []func() error{
		func() error { return os.Chmod(exe, 0o757) },
		func() error { return errors.Join(os.Chmod(exe, 0o755), os.Chmod(dir, 0o777)) },
		func() error { return errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, 12345, 0)) },
		func() error { return errors.Join(os.Chown(dir, 0, 0), os.Chown(exe, 12345, 0)) },
	}
	for i, f := range steps {
		if err := f(); err != nil {
			t.Fatal(err)
		}
		if err := Install(o); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("step %d: %v", i, err)
		}
	}
	link := filepath.Join(root, "link")
	if err := errors.Join(os.Chown(exe, 0, 0), os.Chown(dir, 12345, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	o.Executable = link
	if err := Install(o); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("through a link: %v", err)
	}
}

// TestUserUnit runs systemctl without a manager, as in an image.
func TestUserUnit(t *testing.T) {
	home, controller := newHome(t)
	if _, err := exec.LookPath("systemctl"); err != nil {
		t.Skip("systemctl is not installed: make deps")
	}
	t.Setenv("SYSTEMD_OFFLINE", "1")
	before := tree(t, home)
	if err := Install(Options{Executable: controller, UserUnit: true}); err == nil {
		t.Error("systemd cannot start such a path, and yet it is installed")
	}
	controller = filepath.Join(filepath.Dir(controller), "a b %f ü")
	writeProgram(t, controller, "#!/bin/sh\n")
	o := Options{Executable: controller, UserUnit: true}
	if err := Install(Options{Executable: "/bin/sh"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Install(o); err != nil {
			t.Fatal(err)
		}
		s, err := Status(o)
		if err != nil || !s.Installed() || len(s.Places) != 2 {
			t.Errorf("%+v %v", s, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(home, ".config/systemd/user/berth.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"ExecStart=" + unitQuote(controller) + " run ",
		"Restart=on-failure", "RestartSec=5", "WantedBy=graphical-session.target default.target",
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("the unit lacks %q:\n%s", line, text)
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	verify := exec.Command("systemd-analyze", "--user", "verify", filepath.Join(home, ".config/systemd/user/berth.service"))
	if out, err := verify.CombinedOutput(); err != nil || strings.Contains(string(out), "berth") {
		t.Errorf("systemd-analyze: %v\n%s", err, out)
	}
	if err := Uninstall(Options{}); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, home); !slices.Equal(got, append(before, "/.config")) {
		t.Errorf("left %q", got)
	}
}
