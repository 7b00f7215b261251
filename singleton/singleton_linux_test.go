package singleton

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
	"time"

	"berth/session"
)

// No child may keep a lock alive that its parent held.
func TestLockIsNotInherited(t *testing.T) {
	s := here(t)
	lock, err := Acquire(s, "app")
	if err != nil {
		t.Fatal(err)
	}
	sleeper := exec.Command("sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		sleeper.Process.Kill()
		sleeper.Wait()
	}()
	fds, err := filepath.Glob("/proc/" + strconv.Itoa(sleeper.Process.Pid) + "/fd/*")
	if err != nil || len(fds) < 3 {
		t.Fatalf("descriptors of the child: %q, %v", fds, err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.HasSuffix(to, "app.lock") {
			t.Errorf("the child has the lock's file open: %s", to)
		}
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestRefusalNamesTheHolder(t *testing.T) {
	s := here(t)
	holder := start(t, "app", nil)
	if got := holder.says(t); got != "held" {
		t.Fatal(got)
	}
	_, err := Acquire(s, "app")
	if want := fmt.Sprintf("(pid %d)", holder.cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %s", err, want)
	}
	const waiting = "1: FLOCK  ADVISORY  WRITE 7 08:01:9 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 8 08:01:10 0 EOF\n2: FLOCK  ADVISORY  READ 9 08:01:10 0 EOF\n"
	if got := lockOwner([]byte(waiting), "08:01:10"); got != "" {
		t.Errorf("a waiter or a reader was taken for the owner: %s", got)
	}
}

// After a logout the system removes the directory; the next login makes a new one,
// in which a second process gets the lock. The first one must be told.
func TestLostWhenTheDirectoryVanishes(t *testing.T) {
	s := here(t)
	first, err := Acquire(s, "app")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Release()
	lost := first.Lost()
	if err := first.Check(); err != nil {
		t.Errorf("lost before anything happened: %v", err)
	}
	select {
	case <-lost:
		t.Fatal("lost before anything happened")
	default:
	}
	dir, err := s.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lost:
	case <-time.After(60 * time.Second):
		t.Fatal("the loss of the directory went unnoticed")
	}
	if err := first.Check(); !errors.Is(err, ErrLost) {
		t.Errorf("check of a lost lock: %v", err)
	}
	second, err := Acquire(s, "app")
	if err != nil {
		t.Fatalf("the next login: %v", err)
	}
	second.Release()
}

func TestSymlinkInPlaceOfTheLock(t *testing.T) {
	s := here(t)
	dir, err := s.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "target")
	if err := os.Symlink(target, filepath.Join(dir, "app.lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(s, "app"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a symlink was followed: %v", err)
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("the symlink's target was made")
	}
}

func TestPerMachineAcrossUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it acts as another user")
	}
	t.Setenv("BERTH_RUNTIME", "")
	s, err := session.Current()
	if err != nil {
		t.Fatal(err)
	}
	app := "test-" + strconv.Itoa(os.Getpid())
	dir, err := s.MachineDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(filepath.Join(dir, "berth-"+app+".lock"))
	const stranger = 1954323
	shared := sharedTestBinary(t)
	asStranger := func(cmd *exec.Cmd) {
		cmd.Path, cmd.Dir = shared, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	}
	first := start(t, "machine:"+app, asStranger)
	if got := first.says(t); got != "held" {
		t.Fatal(got)
	}
	if _, err := Acquire(s, app, PerMachine()); !errors.Is(err, ErrHeld) {
		t.Errorf("root beside another user's lock: %v", err)
	}
	first.kill()
	lock, err := Acquire(s, app, PerMachine(), Wait(t.Context()))
	if err != nil {
		t.Fatalf("after the stranger died: %v", err)
	}
	defer lock.Release()
	if got := start(t, "machine:"+app, asStranger).says(t); got != "refused" {
		t.Errorf("the stranger beside root's lock: %s", got)
	}
}

// sharedTestBinary copies this test where other users may run it.
func sharedTestBinary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "singleton-test")
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
