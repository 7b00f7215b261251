package portshare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/session"
)

func peekErr(t *testing.T, s session.Session, want error) Info {
	t.Helper()
	i, err := Peek(s, "test")
	wantErr(t, "peek", err, want)
	return i
}

func TestPeekTakesNoPart(t *testing.T) {
	s := here(t)
	peekErr(t, s, ErrNoRecord)
	if _, err := os.Lstat(os.Getenv("BERTH_RUNTIME")); err == nil {
		t.Error("peeking made a directory")
	}
	r, err := Join(s, "test")
	if err != nil {
		t.Fatal(err)
	}
	if got := peekErr(t, s, nil); got != info(t, r) {
		t.Errorf("peek sees %v", got)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	peekErr(t, s, ErrNoRecord)
}

func TestKilledControllerLeavesThePort(t *testing.T) {
	s := here(t)
	r, err := Join(s, "test", wokenOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	reserved := info(t, r)
	for generation := uint64(1); generation <= 3; generation++ {
		c := start(t, "controller")
		published, err := r.Listening(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if published.Generation != generation || published.Port != reserved.Port || published.PID != c.cmd.Process.Pid {
			t.Fatalf("published %v, want generation %d on port %d", published, generation, reserved.Port)
		}
		c.kill()
		got, err := r.Wait(t.Context(), func(i Info) bool { return i.State == Reserved })
		if err != nil || got != published.released() {
			t.Fatalf("after the kill: %v, %v", got, err)
		}
	}
}

func TestNothingSurvivesTheLastParticipant(t *testing.T) {
	s := here(t)
	var all []*child
	for range 3 {
		c := start(t, "companion")
		c.line(t)
		all = append(all, c)
	}
	controller := start(t, "controller")
	if got := controller.line(t); !strings.HasPrefix(got, "listening") {
		t.Fatal(got)
	}
	for _, c := range append(all, controller) {
		c.kill()
	}
	peekErr(t, s, ErrNoRecord)
	r, err := Join(s, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := info(t, r); got.State != Reserved || got.Generation != 0 {
		t.Errorf("the next participant finds %v", got)
	}
}

func TestSecondControllerIsRefused(t *testing.T) {
	here(t)
	first := start(t, "controller")
	if got := first.line(t); !strings.HasPrefix(got, "listening") {
		t.Fatal(got)
	}
	second := start(t, "controller")
	if got := second.line(t); got != "refused" {
		t.Errorf("the second one says %q", got)
	}
}

func TestSessionsHaveDifferentPorts(t *testing.T) {
	here(t)
	seen := map[int]string{}
	for _, name := range []string{"default", "a", "b", "c", "d"} {
		s, err := session.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Join(s, "test")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		// Kept busy where the system cannot reserve.
		ln, i := serve(t, r, 1)
		defer ln.Close()
		if other, taken := seen[i.Port]; taken {
			t.Errorf("sessions %s and %s share port %d", name, other, i.Port)
		}
		seen[i.Port] = name
	}
}

func TestEnsureWithoutController(t *testing.T) {
	s := here(t)
	_, _, err := Ensure(t.Context(), s, "test", func() error { return os.ErrPermission })
	wantErr(t, "a start that fails", err, os.ErrPermission)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err = Ensure(ctx, s, "test", func() error { return nil })
	wantErr(t, "a controller that never listens", err, context.DeadlineExceeded)
	peekErr(t, s, ErrNoRecord)
}

func TestEnsureTellsTheExitCode(t *testing.T) {
	s := here(t)
	r, err := Join(s, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	exited := make(chan int, 1)
	exited <- 1
	_, err = ensure(t.Context(), r, func() (<-chan int, error) { return exited, nil })
	if code := exitError(0); !errors.As(err, &code) || code != 1 {
		t.Errorf("exit code 1 gave %v", err)
	}
	// Code 3 is no failure: somebody else's controller is on its way.
	starts := 0
	info, err := ensure(t.Context(), r, func() (<-chan int, error) {
		starts++
		running := make(chan int, 1)
		running <- exitRunning
		if starts == 2 {
			serve(t, r, 1)
		}
		return running, nil
	})
	if err != nil || info.State != Listening || starts != 2 {
		t.Errorf("%v, %v after %d starts", info, err, starts)
	}
}

func TestManyEnsureOneController(t *testing.T) {
	s := here(t)
	var all []*child
	for range 8 {
		all = append(all, start(t, "ensurer"))
	}
	defer endServers(t, s, all)
	for _, said := range together(t, all, (*child).hear) {
		if !strings.HasPrefix(said, "listening") {
			t.Error(said)
		}
	}
	if got := agree(t, s, all); got.State != Listening {
		t.Errorf("they agree on %v", got)
	}
}

// agree returns what all children and an observer see, once they see the same.
func agree(t *testing.T, s session.Session, all []*child) Info {
	t.Helper()
	var said []string
	for range 1000 {
		before, err := Peek(s, "test")
		if errors.Is(err, ErrStale) {
			continue // a holder has died, and nobody has published it yet
		}
		if err != nil {
			t.Fatal(err)
		}
		said = together(t, all, (*child).ask)
		same := fmt.Sprintf("%s %d %d %d <nil>", before.State, before.Port, before.Generation, before.PID)
		if !slices.ContainsFunc(said, func(line string) bool { return line != same }) {
			return before
		}
	}
	t.Fatalf("they do not agree: %q", said)
	return Info{}
}

// hang is when a test gives up on a process that should have ended. It is no limit on
// speed: it turns a hang into a failure that names the process.
const hang = 2 * time.Minute

// endServers kills the children and the controllers that they started, and waits
// until the last of them is gone.
func endServers(t *testing.T, s session.Session, all []*child) {
	t.Helper()
	for _, c := range all {
		c.kill()
	}
	ended := make(chan string)
	var waitingFor atomic.Pointer[child]
	go func() {
		defer close(ended)
		for _, c := range all {
			waitingFor.Store(c)
			ended <- c.awaitDescendants()
		}
	}()
	watchdog := time.After(hang)
	for {
		select {
		case said, more := <-ended:
			if !more {
				peekErr(t, s, ErrNoRecord)
				return
			}
			if said != "" {
				t.Error(said)
			}
		case <-watchdog:
			i, err := Peek(s, "test")
			c := waitingFor.Load()
			t.Fatalf("something that the %s with pid %d started lives on; the record says %v, %v", c.role, c.cmd.Process.Pid, i, err)
		case <-time.After(5 * time.Millisecond):
			// A controller may still be on its way: its starter was killed, it was not.
			if i, err := Peek(s, "test"); err == nil && i.State == Listening {
				killPID(i.PID)
			}
		}
	}
}

func killPID(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		p.Kill()
		p.Release()
	}
}
