package singleton

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/session"
)

const childVariable = "SINGLETON_TEST_CHILD"

func TestMain(m *testing.M) {
	if app := os.Getenv(childVariable); app != "" {
		os.Exit(child(app))
	}
	os.Exit(m.Run())
}

// child tries to get the lock, says how that went, and keeps what it has until its
// input ends.
func child(app string) int {
	s, err := session.Current()
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	var opts []Option
	if rest, ok := strings.CutPrefix(app, "machine:"); ok {
		app, opts = rest, append(opts, PerMachine())
	}
	lock, err := Acquire(s, app, opts...)
	switch {
	case errors.Is(err, ErrHeld):
		fmt.Println("refused")
	case err != nil:
		fmt.Println("error:", err)
	default:
		fmt.Println("held")
	}
	io.Copy(io.Discard, os.Stdin) //nolint:errcheck // until the parent lets go
	if lock != nil {
		lock.Release() //nolint:errcheck // the process ends anyway
	}
	return 0
}

type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	told string
}

// start runs child for app, with what change does to the command.
func start(t *testing.T, app string, change func(*exec.Cmd)) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), childVariable+"="+app)
	if change != nil {
		change(p.cmd)
	}
	p.in, err = p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func (p *process) says(t *testing.T) string {
	t.Helper()
	if p.told == "" {
		line, err := p.out.ReadString('\n')
		if err != nil {
			t.Fatalf("child: %v", err)
		}
		p.told = strings.TrimSpace(line)
	}
	return p.told
}

func (p *process) kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	p.cmd.Wait()         //nolint:errcheck // killed
}

// here gives the test a session of its own.
func here(t *testing.T) session.Session {
	t.Helper()
	t.Setenv("BERTH_RUNTIME", filepath.Join(t.TempDir(), "run"))
	s, err := session.Current()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSecondInstanceIsRefused(t *testing.T) {
	s := here(t)
	first, err := Acquire(s, "app")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(s, "app"); !errors.Is(err, ErrHeld) {
		t.Errorf("in this process: %v", err)
	}
	if got := start(t, "app", nil).says(t); got != "refused" {
		t.Errorf("in another process: %s", got)
	}
	other, err := Acquire(s, "another")
	if err != nil {
		t.Fatalf("another program: %v", err)
	}
	defer other.Release()
	for range 2 {
		if err := first.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if got := start(t, "app", nil).says(t); got != "held" {
		t.Errorf("after the release: %s", got)
	}
}

func TestSessionsHaveLocksOfTheirOwn(t *testing.T) {
	here(t)
	for _, name := range []string{"default", "one", "two"} {
		s, err := session.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		lock, err := Acquire(s, "app")
		if err != nil {
			t.Fatalf("session %s: %v", name, err)
		}
		defer lock.Release()
	}
}

func TestUnusableNamesAreRefused(t *testing.T) {
	s := here(t)
	for _, app := range []string{"", "../x", "a/b", `a\b`, "UPPER", strings.Repeat("x", 33)} {
		if _, err := Acquire(s, app); !errors.Is(err, session.ErrName) {
			t.Errorf("%q: %v", app, err)
		}
	}
}

func TestOneOfManyWinsAndKilledOnesLetGo(t *testing.T) {
	here(t)
	for range 3 {
		var all []*process
		for range 12 {
			all = append(all, start(t, "app", nil))
		}
		held := 0
		for _, p := range all {
			switch got := p.says(t); got {
			case "held":
				held++
			case "refused":
			default:
				t.Fatal(got)
			}
		}
		if held != 1 {
			t.Fatalf("%d processes hold the lock", held)
		}
		for _, p := range all {
			p.kill()
		}
	}
}

func TestWaitingTakesOverFromAKilledHolder(t *testing.T) {
	s := here(t)
	holder := start(t, "app", nil)
	if got := holder.says(t); got != "held" {
		t.Fatal(got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	refused := make(chan error, 1)
	go func() {
		_, err := Acquire(s, "app", Wait(ctx))
		refused <- err
	}()
	cancel()
	if err := <-refused; !errors.Is(err, ErrHeld) || !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait gave %v", err)
	}
	got := make(chan error, 1)
	go func() {
		lock, err := Acquire(s, "app", Wait(t.Context()))
		if err == nil {
			err = lock.Release()
		}
		got <- err
	}()
	holder.kill()
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the lock of a killed process was never free")
	}
	// The cancelled wait must have given back what it may have got since.
	lock, err := Acquire(s, "app", Wait(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
}

func TestPerMachine(t *testing.T) {
	here(t)
	one, err := session.Named("one")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := Acquire(one, "app", PerMachine())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	two, err := session.Named("two")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(two, "app", PerMachine()); !errors.Is(err, ErrHeld) {
		t.Errorf("another session got the machine's lock: %v", err)
	}
	own, err := Acquire(two, "app")
	if err != nil {
		t.Fatalf("the session's lock is another one: %v", err)
	}
	own.Release()
}
