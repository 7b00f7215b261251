package ipc

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"berth/session"
)

// TestMain lets the test binary play a companion in a process of its own.
func TestMain(m *testing.M) {
	if role := os.Getenv("BERTH_TEST_COMPANION"); role != "" {
		os.Exit(playCompanion(role, os.Getenv("BERTH_TEST_ENDPOINT"), os.Getenv("BERTH_TEST_NAME")))
	}
	code := m.Run()
	if s, err := session.Named(fmt.Sprintf("example-%d", os.Getpid())); err == nil {
		if dir, err := s.RuntimeDir(); err == nil {
			_ = os.RemoveAll(dir) // nobody else does
		}
	}
	os.Exit(code)
}

// playCompanion registers, says so on stdout, and does what its role says until
// it is killed or its stdin ends.
func playCompanion(role, endpoint, name string) int {
	switch role {
	case "socket":
		return playPeer(name, endpoint)
	case "pair":
		return playPair(name, endpoint)
	case "secluded", "open", "snoop":
		return playOnLinux(role, name)
	case "parent":
		return playParent(name, endpoint)
	case "child":
		time.Sleep(time.Minute)
		return 0
	}
	ctx := context.Background()
	c, err := Dial(ctx, endpoint, name, Sizes(1<<20, 64<<10))
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	switch role {
	case "streamer":
		fmt.Println("ready")
		body := make([]byte, 3<<20)
		for i := 0; ; i++ {
			fill(body, byte(i))
			want := sha256.Sum256(body)
			got, err := c.Carry(ctx, "digest", nil, bytes.NewReader(body))
			if err != nil || !bytes.Equal(got, want[:]) {
				fmt.Println("error:", err)
				return 1
			}
		}
	case "bench":
		c.Handle("echo", echo)
		c.Handle("sink", sink)
		c.Handle("look", look)
		fmt.Println("ready")
	case "server":
		c.Handle("echo", echo)
		fmt.Println("ready")
	case "keeper", "half a keeper", "reader":
		if err := playCacheUser(ctx, c, role); err != nil {
			fmt.Println("error:", err)
			return 1
		}
		fmt.Println("ready")
	case "sleeper":
		s, err := c.Open(ctx, "controller/hold", nil)
		if err == nil {
			var p *Parcel
			if p, err = c.Alloc(ctx, 100_000); err == nil {
				fill(p.Bytes(), 9)
				err = s.Send(ctx, p)
			}
		}
		if err != nil {
			fmt.Println("error:", err)
			return 1
		}
		fmt.Println("ready")
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// playParent registers, and leaves its end of the control stream to a child that
// outlives it. The child's number is its name, for whoever reads the roster.
func playParent(name, endpoint string) int {
	raw, pid, err := dialConn(context.Background(), endpoint)
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "BERTH_TEST_COMPANION=child")
	if err := errors.Join(bequeath(child, raw), child.Start()); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	name = fmt.Sprint(name, "-", child.Process.Pid)
	if _, err := enroll(raw, pid, hello{version: Version, name: name}); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// companion is a companion in a process of its own.
type companion struct {
	*exec.Cmd
	stdin io.WriteCloser
}

func startCompanion(t testing.TB, e *Engine, role, name string) *companion {
	t.Helper()
	return startPeer(t, role, e.Endpoint(), name)
}

func startPeer(t testing.TB, role, endpoint, name string) *companion {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BERTH_TEST_COMPANION="+role, "BERTH_TEST_ENDPOINT="+endpoint, "BERTH_TEST_NAME="+name)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &companion{cmd, stdin}
	t.Cleanup(func() { p.kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("the companion said %q, %v", line, err)
	}
	return p
}

func (c *companion) kill() {
	_ = c.Process.Kill()
	_ = c.Wait()
}

func TestAKilledCompanionIsReclaimed(t *testing.T) {
	e := testEngine(t, Options{})
	held := make(chan *Message)
	ended := make(chan error, 1)
	e.Handle("hold", func(ctx context.Context, s *Session) {
		m, err := s.Recv(ctx)
		if err != nil {
			ended <- err
			return
		}
		held <- m
		_, err = s.Recv(ctx)
		ended <- err
	})
	p := startCompanion(t, e, "sleeper", "victim")
	m := <-held
	p.kill()
	if err := <-ended; !errors.Is(err, ErrPeer) {
		t.Fatalf("the session of the dead companion ended with %v", err)
	}
	size := int64(m.from.seg.Size())
	waitFor(t, func() bool { st := e.Stats(); return len(st.Companions) == 0 && st.Used == size }) // what is held, and nothing else
	want := make([]byte, 100_000)
	fill(want, 9)
	if !bytes.Equal(m.Bytes(), want) {
		t.Fatal("a message that is still held changed when its sender died")
	}
	m.Release()
	waitFor(t, func() bool { return e.Stats().Used == 0 })
}

func TestKillsDisturbNobody(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	e := testEngine(t, Options{})
	e.Handle("digest", digest)
	bystander := testClient(t, e, "bystander")
	stop := make(chan struct{})
	result := make(chan error, 1)
	go func() {
		body := make([]byte, 1<<20)
		for i := 0; ; i++ {
			select {
			case <-stop:
				result <- nil
				return
			default:
			}
			fill(body, byte(i))
			want := sha256.Sum256(body)
			got, err := bystander.Carry(context.Background(), "digest", nil, bytes.NewReader(body))
			if err != nil || !bytes.Equal(got, want[:]) {
				result <- fmt.Errorf("round %d: %w, or a wrong digest", i, err)
				return
			}
		}
	}()
	settle := func() usage {
		waitFor(t, func() bool { return len(e.Stats().Companions) == 1 })
		return resources(t)
	}
	warm := startCompanion(t, e, "streamer", "victim")
	warm.kill()
	before := settle()
	for i := range rounds {
		p := startCompanion(t, e, "streamer", "victim")
		time.Sleep(time.Duration(i%5) * time.Millisecond) // killed at different moments of its work
		p.kill()
	}
	waitFor(t, func() bool { after := settle(); return after.files <= before.files && after.maps <= before.maps+4 })
	close(stop)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func TestTheEnginesDeathReachesCompanions(t *testing.T) {
	e := testEngine(t, Options{})
	p := startCompanion(t, e, "server", "shell")
	s, err := e.Open(testContext(t), "shell/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		parcel, err := s.Alloc(testContext(t), 1000+i)
		if err != nil {
			t.Fatal(err)
		}
		fill(parcel.Bytes(), byte(i))
		m, err := s.Call(testContext(t), parcel)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 1000+i)
		fill(want, byte(i))
		if !bytes.Equal(m.Bytes(), want) {
			t.Fatal("changed")
		}
		m.Release()
	}
	_ = p.stdin.Close()
	if err := p.Wait(); err != nil {
		t.Fatalf("the companion ended with %v", err)
	}
	if _, err := s.Recv(testContext(t)); !errors.Is(err, ErrPeer) {
		t.Fatalf("got %v", err)
	}
}
