package portshare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/session"
	"berth/singleton"
)

const roleVariable = "PORTSHARE_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role))
	}
	os.Exit(m.Run())
}

// play is what a child process does. It says one line when it is ready, answers each
// line of input with the record, and ends with its input.
func play(role string) int {
	s, err := session.Current()
	if err == nil {
		switch role {
		case "sleeper":
			fmt.Println("ready")
			io.Copy(io.Discard, os.Stdin)
		case "companion":
			err = companion(s)
		case "controller":
			err = controller(s)
		case "ensurer":
			err = ensurer(s)
		case "server":
			err = server(s)
		case "waiter":
			var r *Record
			if r, err = Join(s, "test"); err == nil {
				err = waiter(r)
			}
		case "intruder":
			intruder()
		default:
			err = fmt.Errorf("no role %q", role)
		}
	}
	switch {
	case errors.Is(err, singleton.ErrHeld):
		fmt.Println("refused")
		return exitRunning
	case err != nil:
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

func companion(s session.Session) error {
	r, err := Join(s, "test")
	if err != nil {
		return err
	}
	answer(r)
	return r.Close()
}

func controller(s session.Session) error {
	return beController(s, func(r *Record, _ *singleton.Lock) { answer(r) })
}

// server is a controller that nobody talks to. It lives until it is killed, or until
// a test that failed has removed its directory.
func server(s session.Session) error {
	return beController(s, func(_ *Record, lock *singleton.Lock) {
		select {
		case <-lock.Lost():
		case <-time.After(3 * time.Minute):
		}
	})
}

func beController(s session.Session, serve func(*Record, *singleton.Lock)) error {
	lock, err := singleton.Acquire(s, "test")
	if err != nil {
		return err
	}
	defer lock.Release()
	r, err := Join(s, "test")
	if err != nil {
		return err
	}
	ln, err := r.Listen()
	if err != nil {
		return err
	}
	defer ln.Close()
	if _, err := r.Publish("endpoint", key(1), key(2)); err != nil {
		return err
	}
	serve(r, lock)
	return r.Close()
}

// ensurer is a companion that starts a server when there is no controller. The
// server has our standard error, by which the test sees its end.
func ensurer(s session.Session) error {
	start := func() error {
		cmd, err := again("server")
		if err != nil {
			return err
		}
		cmd.Stderr = os.Stderr
		return cmd.Start()
	}
	r, _, err := Ensure(context.Background(), s, "test", start)
	if err != nil {
		return err
	}
	answer(r)
	return r.Close()
}

func answer(r *Record) {
	say := func() {
		info, err := r.Info()
		fmt.Printf("%s %d %d %d %v\n", info.State, info.Port, info.Generation, info.PID, err)
	}
	say()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		say()
	}
}

// child is a process of this test.
type child struct {
	id     process
	role   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors *os.File // ends with the last descendant
	killed bool
}

// again runs this program in another role.
func again(role string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd, nil
}

func start(t testing.TB, role string) *child {
	t.Helper()
	cmd, err := again(role)
	if err != nil {
		t.Fatal(err)
	}
	return startCommand(t, role, cmd)
}

func startCommand(t testing.TB, role string, cmd *exec.Cmd) *child {
	t.Helper()
	c := &child{role: role, cmd: cmd}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out, c.errors, cmd.Stderr = in, bufio.NewReader(out), read, write
	if err := errors.Join(cmd.Start(), write.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	return c
}

// sleeper is a process that does nothing, for others to pretend to be.
func sleeper(t *testing.T) *child {
	t.Helper()
	c := start(t, "sleeper")
	c.line(t)
	begun, err := startTime(c.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	c.id = process{pid: c.cmd.Process.Pid, start: begun, namespace: pidNamespace()}
	return c
}

// line is the next thing that the child says.
func (c *child) line(t testing.TB) string {
	t.Helper()
	line, err := c.hear()
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func (c *child) hear() (string, error) {
	line, err := c.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s, pid %d, said %q, then %w", c.role, c.cmd.Process.Pid, line, err)
	}
	return strings.TrimSpace(line), nil
}

// ask makes the child look at the record once more.
func (c *child) ask() (string, error) {
	if _, err := io.WriteString(c.in, "?\n"); err != nil {
		return "", err
	}
	return c.hear()
}

// kill is kill -9. A second call does nothing.
func (c *child) kill() {
	c.killed = true
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// awaitDescendants returns when the child and all that it started have ended, with
// what they said on standard error: nothing, or the race detector's report.
func (c *child) awaitDescendants() string {
	text, _ := io.ReadAll(c.errors)
	c.errors.Close()
	return string(text)
}

// together asks all children at once.
func together(t *testing.T, all []*child, ask func(*child) (string, error)) []string {
	t.Helper()
	said := make([]string, len(all))
	failed := make([]error, len(all))
	var group sync.WaitGroup
	for i, c := range all {
		group.Go(func() { said[i], failed[i] = ask(c) })
	}
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	return said
}
