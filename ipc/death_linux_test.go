package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/shm"
)

const stranger = 65534

func playOnLinux(role, name string) int {
	if role == "snoop" {
		return playSnoop(name)
	}
	return playSecret(role)
}

// playSecret holds a segment, and says which descriptor it is.
func playSecret(role string) int {
	if role == "secluded" {
		if err := Seclude(); err != nil {
			fmt.Println("error:", err)
			return 1
		}
		if _, _, ok := descriptors(); !ok { // its own /proc is another user's now
			fmt.Println("error: it can't count its own descriptors")
			return 1
		}
	}
	if _, err := shm.NewSegment(4096); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// playSnoop opens every descriptor of the process whose number is its name.
func playSnoop(pid string) int {
	fds, err := os.ReadDir("/proc/" + pid + "/fd")
	if errors.Is(err, os.ErrPermission) {
		return 3
	}
	for _, fd := range fds {
		path := "/proc/" + pid + "/fd/" + fd.Name()
		target, _ := os.Readlink(path)
		if !strings.Contains(target, "memfd:berth") {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			_ = f.Close()
			return 4
		}
		if errors.Is(err, os.ErrPermission) {
			return 3
		}
	}
	fmt.Fprintln(os.Stderr, "found nothing:", err, len(fds))
	return 1
}

// asStranger has cmd run this test binary as a user without privileges: root may
// open everything.
func asStranger(t *testing.T, role, name string) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to start processes of another user")
	}
	dir, err := os.MkdirTemp("/tmp", "berth-snoop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	exe := filepath.Join(dir, "test")
	b, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = errors.Join(os.WriteFile(exe, b, 0o755), os.Chmod(dir, 0o755), os.Chmod(exe, 0o755)) // whatever the umask says
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Dir = "/"
	cmd.Env = []string{"BERTH_TEST_COMPANION=" + role, "BERTH_TEST_NAME=" + name}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	cmd.Stderr = os.Stderr
	return cmd
}

// TestASiblingCantOpenTheMemoryOfASecludedProcess: both run as the same user.
func TestASiblingCantOpenTheMemoryOfASecludedProcess(t *testing.T) {
	for role, want := range map[string]int{"secluded": 3, "open": 4} {
		holder := asStranger(t, role, "")
		stdin, err := holder.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := holder.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 5)
		if _, err := io.ReadFull(stdout, line); err != nil || string(line) != "ready" {
			t.Fatalf("%q, %v", line, err)
		}
		snoop := asStranger(t, "snoop", fmt.Sprint(holder.Process.Pid))
		_ = snoop.Run()
		_ = stdin.Close()
		_ = holder.Wait()
		if code := snoop.ProcessState.ExitCode(); code != want {
			t.Errorf("%s: a sibling ended with %d instead of %d (3: refused, 4: opened)", role, code, want)
		}
	}
}

// TestAStoppedCompanionIsNotDead stops one in the middle of its work; 60 s with
// BERTH_TORTURE=1.
func TestAStoppedCompanionIsNotDead(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("echo", echo)
	p := startCompanion(t, e, "pair", "s")
	if err := p.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // beyond the stop
	defer cancel()
	s, err := testClient(t, e, "other").Open(ctx, "controller/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Duration(tortures(1, 60)) * time.Second)
	for n := 0; time.Now().Before(end); n++ { // others go on, and it is reminded
		if err := callOnce(ctx, s, n); err != nil {
			t.Fatal(err)
		}
		e.trim()
		time.Sleep(time.Millisecond)
	}
	if st := e.Stats(); len(st.Companions) != 3 || len(st.Dropped) != 0 {
		t.Fatalf("%d companions, dropped: %+v", len(st.Companions), st.Dropped)
	}
	l := e.member("s-a").link
	before := l.pumped.Load()
	if err := p.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return l.pumped.Load() > before+100 })
}
