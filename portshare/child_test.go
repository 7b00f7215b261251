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
	"testing"

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
	answer(r)
	return r.Close()
}

// ensurer is a companion that starts a controller when there is none.
func ensurer(s session.Session) error {
	start := func() error {
		_, err := spawn("controller", nil)
		return err
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
	id  process
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// spawn starts a child that plays role, with what change does to the command.
func spawn(role string, change func(*exec.Cmd)) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self)}
	c.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	if change != nil {
		change(c.cmd)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	return c, c.cmd.Start()
}

func start(t testing.TB, role string) *child {
	t.Helper()
	c, err := spawn(role, nil)
	if err != nil {
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

func (c *child) line(t testing.TB) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("pid %d said %q, then %v", c.cmd.Process.Pid, line, err)
	}
	return strings.TrimSpace(line)
}

// ask makes the child look at the record once more.
func (c *child) ask(t testing.TB) string {
	t.Helper()
	if _, err := io.WriteString(c.in, "?\n"); err != nil {
		t.Fatal(err)
	}
	return c.line(t)
}

// kill is kill -9. A second call does nothing.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}
