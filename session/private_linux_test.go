package session

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// These two ids exist on no machine by default: nobody's files are touched.
const (
	victim   = 1954321
	squatter = 1954322
)

func TestMain(m *testing.M) {
	if os.Getenv("SESSION_TEST_CHILD") != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// child prints the runtime directory of the user it runs as.
func child() int {
	s, err := Current()
	if err != nil {
		fmt.Println("current:", err)
		return 1
	}
	dir, err := s.RuntimeDir()
	if err != nil {
		fmt.Println("error:", err)
		if errors.Is(err, ErrUnsafe) {
			return 10
		}
		return 1
	}
	fmt.Println(dir)
	return 0
}

// asVictim runs child as the victim, and returns its output and exit code.
func asVictim(t *testing.T, env ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(sharedTestBinary(t))
	cmd.Env = append([]string{"SESSION_TEST_CHILD=1"}, env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: victim, Gid: victim}}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

// sharedTestBinary copies this test where other users may run it.
func sharedTestBinary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "session-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	path := filepath.Join(dir, "test")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(out.Close(), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it acts as other users")
	}
	if inMemory(filepath.Join("/run/user", strconv.Itoa(victim))) {
		t.Skip("the test's user is logged in")
	}
}

func TestSquattedRuntimeDirIsRefused(t *testing.T) {
	needRoot(t)
	path := filepath.Join("/dev/shm", "berth-"+strconv.Itoa(victim))
	harmless := t.TempDir()
	cases := []struct {
		name    string
		prepare func() error
		says    string
	}{
		{"directory of another user", func() error {
			return errors.Join(os.Mkdir(path, 0o777), os.Chown(path, squatter, squatter))
		}, "belongs to uid " + strconv.Itoa(squatter)},
		{"symlink of another user", func() error {
			return errors.Join(os.Symlink(harmless, path), os.Lchown(path, squatter, squatter))
		}, "belongs to uid " + strconv.Itoa(squatter)},
		{"own symlink", func() error {
			return errors.Join(os.Symlink(harmless, path), os.Lchown(path, victim, victim))
		}, "not a directory"},
		{"own file", func() error {
			return errors.Join(os.WriteFile(path, nil, 0o700), os.Chown(path, victim, victim))
		}, "not a directory"},
		{"open to others", func() error {
			return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o711), os.Chown(path, victim, victim))
		}, "chmod 700"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := c.prepare(); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(path)
			out, code := asVictim(t)
			if code != 10 || !strings.Contains(out, c.says) {
				t.Errorf("exit %d, %q; want a refusal that says %q", code, out, c.says)
			}
		})
	}
}

func TestRuntimeDirOfAnotherUser(t *testing.T) {
	needRoot(t)
	path := filepath.Join("/dev/shm", "berth-"+strconv.Itoa(victim))
	defer os.RemoveAll(path)
	// XDG_RUNTIME_DIR must change nothing.
	out, code := asVictim(t, "XDG_RUNTIME_DIR=/tmp")
	if code != 0 || out != filepath.Join(path, "default") {
		t.Fatalf("exit %d, %q", code, out)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o700 || ownerOf(info) != victim {
		t.Errorf("%v, owner %d, %v", info.Mode(), ownerOf(info), err)
	}
}

func TestOverrideIsVerified(t *testing.T) {
	base := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(base, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BERTH_RUNTIME", base)
	s, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	if dir, err := s.RuntimeDir(); !errors.Is(err, ErrUnsafe) {
		t.Errorf("open base gave %s, %v", dir, err)
	}
	if err := os.Chmod(base, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := s.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RuntimeDir(); !errors.Is(err, ErrUnsafe) {
		t.Errorf("a session directory open to the group gave %v", err)
	}
}

func TestSharedParentMustBeSticky(t *testing.T) {
	needRoot(t)
	dir := filepath.Join(t.TempDir(), "shared")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for mode, ok := range map[os.FileMode]bool{0o755: true, 0o777: false, 0o775: false, 0o777 | os.ModeSticky: true} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := verifyShared(dir); (err == nil) != ok {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if err := os.Chown(dir, squatter, squatter); err != nil {
		t.Fatal(err)
	}
	if err := verifyShared(dir); !errors.Is(err, ErrUnsafe) {
		t.Errorf("a parent of another user: %v", err)
	}
}

func TestHomeOfAnotherUserIsNotUsed(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	if got, err := home(); err != nil || got != dir {
		t.Errorf("home() = %s, %v; want %s", got, err, dir)
	}
	if err := os.Chown(dir, squatter, squatter); err != nil {
		t.Fatal(err)
	}
	if got, err := home(); err != nil || got == dir {
		t.Errorf("home() = %s, %v: root's files would lie in somebody's home", got, err)
	}
}
