// Package servers starts real file servers on loopback for tests: tusd, vsftpd,
// OpenSSH and an SFTP server in Go. Each keeps its files below a directory of its own and is gone
// with its Stop.
package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is a running server.
type Server struct {
	Kind     string // "tusd", "vsftpd", "sshd" or "gosftp"
	Addr     string // host:port
	URL      string // what a destination is configured with
	User     string
	Password string
	Root     string // where it keeps files, on this machine
	HostKey  string // of sshd: the SHA-256 fingerprint
	KeyFile  string // of sshd: a private key that lets User in
	log      *output
	stop     func() error
}

// Stop ends the server and removes what it needed beside Root.
func (s *Server) Stop() error { return s.stop() }

// Log is what the server said, for a failing test.
func (s *Server) Log() string {
	if s.log == nil {
		return ""
	}
	return s.log.String()
}

// MissingError says what a server needs and this machine doesn't have.
type MissingError struct{ What string }

func (e *MissingError) Error() string { return e.What + " is missing" }

// Starter starts one kind of server below dir.
type Starter func(ctx context.Context, dir string) (*Server, error)

// Kinds are all starters by name.
func Kinds() map[string]Starter {
	return map[string]Starter{"tusd": TUS, "vsftpd": VSFTPD, "sshd": SSHD, "gosftp": GoSFTP}
}

// Start runs a server for t. What is missing skips the test by name, or fails it
// when BERTH_REQUIRE_ALL is 1.
func Start(t testing.TB, start Starter) *Server {
	t.Helper()
	dir := t.TempDir()
	// The test's own directory is private to its user; the server's user has to
	// get to the part that is its root.
	open(t, dir)
	s, err := start(context.Background(), dir)
	if missing := (*MissingError)(nil); errors.As(err, &missing) && os.Getenv("BERTH_REQUIRE_ALL") != "1" {
		t.Skipf("%v: make deps installs it", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("%s: %v", s.Kind, err)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", s.Kind, s.Log())
		}
	})
	return s
}

// Memory runs a server for a benchmark, with its files in memory where there is
// such a place: the disk isn't what is measured.
func Memory(b *testing.B, start Starter) *Server {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "berth-bench-")
	if err != nil {
		return Start(b, start)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	s, err := start(context.Background(), dir)
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { _ = s.Stop() })
	return s
}

// open lets other users pass through dir's parents up to the system's temporary
// directory, as the testing package makes them 0700 or 0777 by umask.
func open(t testing.TB, dir string) {
	for d := dir; d != os.TempDir() && d != filepath.Dir(d); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Logf("chmod %s: %v", d, err)
			return
		}
	}
}

// Tree lists everything below root, with sizes: what a server holds.
func Tree(root string) ([]string, error) {
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		line := strings.TrimPrefix(path, root)
		if st, err := d.Info(); err == nil && st.Mode().IsRegular() {
			line = fmt.Sprintf("%s %d", line, st.Size())
		}
		all = append(all, line)
		return nil
	})
	return all, err
}

// freePort finds a port that was free a moment ago.
func freePort() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// daemon runs a server that stays in the foreground until stopped, and waits
// until it listens. Another program may have taken the port meanwhile; then the
// server ends and says so.
func daemon(ctx context.Context, s *Server, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	s.log = &output{}
	cmd.Stdout, cmd.Stderr = s.log, s.log
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // what it said on its way out is in its log
	}()
	s.stop = func() error {
		_ = cmd.Process.Kill() // fails when it is gone already
		<-ended
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp4", s.Addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ended:
			return fmt.Errorf("%s ended at once: %s", name, s.Log())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not listen on %s: %s", name, s.Addr, s.Log()), s.stop())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// output collects what a process says.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
