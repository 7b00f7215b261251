package portshare

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"berth/session"
)

// TestCReader reads a living record with a program that was written from the
// documentation alone.
func TestCReader(t *testing.T) {
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is not installed: make deps")
	}
	reader := filepath.Join(t.TempDir(), "reader")
	if out, err := exec.Command(compiler, "-Wall", "-Wextra", "-Werror", "-O2", "-o", reader, "testdata/reader.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := here(t)
	dir, err := s.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	read := func() (string, int) {
		cmd := exec.Command(reader, dir, "test")
		out, _ := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
	}
	if out, code := read(); code != 4 {
		t.Errorf("before anybody: exit %d, %s", code, out)
	}
	r, err := Join(s, "test")
	if err != nil {
		t.Fatal(err)
	}
	want := func(i Info, mine, lives int) string {
		return fmt.Sprintf("state=%d generation=%d port=%d pid=%d start=%d endpoint=%s key=%x cert=%x namespace=%d lives=%d",
			i.State, i.Generation, i.Port, i.PID, i.Start, i.Endpoint, i.Key, i.CertSHA256, mine, lives)
	}
	if out, code := read(); code != 0 || out != want(info(t, r), 0, 0) {
		t.Errorf("reserved: exit %d, %s", code, out)
	}
	_, published := serve(t, r, 0x5a)
	if out, code := read(); code != 0 || out != want(published, 1, 1) {
		t.Errorf("listening: exit %d\n%s\n%s", code, out, want(published, 1, 1))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if out, code := read(); code != 4 {
		t.Errorf("after everybody: exit %d, %s", code, out)
	}
}

// TestLeftoversAreReset: the file outlives kill -9 of all, with whatever it says.
func TestLeftoversAreReset(t *testing.T) {
	leftover, err := encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	otherVersion := leftover
	otherVersion[offVersion] = 9
	odd := leftover
	odd[offSequence] = 7
	for name, content := range map[string][]byte{
		"a record": leftover[:], "another version": otherVersion[:], "a torn record": odd[:],
		"noise": bytes.Repeat([]byte{0xa5}, 9000), "too short": {1, 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := here(t)
			dir, err := s.RuntimeDir()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "test.record"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			peekErr(t, s, ErrNoRecord)
			r, err := Join(s, "test")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got := info(t, r); got.State != Reserved || got.Generation != 0 || got.Port < firstDynamic {
				t.Errorf("the first participant found %v", got)
			}
		})
	}
}

func TestRecordFileIsChecked(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"symlink":   func(path string) error { return os.Symlink("/dev/null", path) },
		"pipe":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			s := here(t)
			dir, err := s.RuntimeDir()
			if err != nil {
				t.Fatal(err)
			}
			if err := plant(filepath.Join(dir, "test.record")); err != nil {
				t.Fatal(err)
			}
			if r, err := Join(s, "test"); err == nil {
				t.Error("it was joined")
				r.Close()
			}
			peekErr(t, s, ErrNoRecord)
		})
	}
}

// TestStaleAfterLogout: the system removed the runtime directory, and the next login
// has a new record. Whoever has the old one must learn of it.
func TestStaleAfterLogout(t *testing.T) {
	s := here(t)
	old, err := Join(s, "test")
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := old.Listening(t.Context())
		waited <- err
	}()
	if err := os.RemoveAll(os.Getenv("BERTH_RUNTIME")); err != nil {
		t.Fatal(err)
	}
	next, err := Join(s, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	wantErr(t, "waiting", <-waited, ErrStale)
	_, err = old.Info()
	wantErr(t, "info", err, ErrStale)
	_, err = old.Listen()
	wantErr(t, "listen", err, ErrStale)
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	if got := info(t, next); got.State != Reserved {
		t.Errorf("the new record after the old one was closed: %v", got)
	}
}

// TestReservation: the port belongs to this user, listening or not, and to nobody else.
func TestReservation(t *testing.T) {
	s := here(t)
	r, err := Join(s, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	port := info(t, r).Port
	address := "127.0.0.1:" + strconv.Itoa(port)
	if ln, err := net.Listen("tcp4", address); err == nil {
		ln.Close()
		t.Error("a program of this user that knows nothing of the reservation got the port")
	}
	if c, err := net.Dial("tcp4", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting to a reserved port: %v, %v", c, err)
	}
	if claimed, err := claim(port); !taken(err) {
		t.Errorf("another session's scan got the port: %v", err)
		claimed.close()
	}
	// The reservation outlives the one who made it.
	second := start(t, "companion")
	second.line(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if ln, err := net.Listen("tcp4", address); err == nil {
		ln.Close()
		t.Error("the port was free although a companion lives")
	}
	second.kill()
	ln, err := net.Listen("tcp4", address)
	if err != nil {
		t.Errorf("after the last one: %v", err)
	} else {
		ln.Close()
	}
}

const stranger = 1954324

// TestAnotherUser acts as another user against a living session.
func TestAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it acts as another user")
	}
	// In a place that everybody can reach, so that the runtime directory's own mode
	// is what stops them.
	public, err := os.MkdirTemp("/dev/shm", "portshare-test")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(public)
	if err := os.Chmod(public, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BERTH_RUNTIME", filepath.Join(public, "run"))
	s, err := session.Current()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Join(s, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dir, err := s.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	reserved := intrude(t, dir, info(t, r).Port)
	serve(t, r, 1)
	listening := intrude(t, dir, info(t, r).Port)
	for state, said := range map[string]string{"reserved": reserved, "listening": listening} {
		for _, line := range strings.Split(strings.TrimSpace(said), "\n") {
			if !strings.HasSuffix(line, ": refused") {
				t.Errorf("%s: %s", state, line)
			}
		}
		if n := strings.Count(said, "refused"); n != 11 {
			t.Errorf("%s: %d attempts were refused: %s", state, n, said)
		}
	}
}

func intrude(t *testing.T, dir string, port int) string {
	t.Helper()
	cmd := exec.Command(sharedTestBinary(t))
	cmd.Env = []string{roleVariable + "=intruder", "DIR=" + dir, "PORT=" + strconv.Itoa(port)}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// intruder is another user: it tries to read the record, to pass the directory and
// to bind the port in every way the system knows.
func intruder() {
	dir, port := os.Getenv("DIR"), os.Getenv("PORT")
	tell := func(what string, err error) {
		switch {
		case errors.Is(err, unix.EACCES), errors.Is(err, unix.EADDRINUSE):
			fmt.Println(what + ": refused")
		default:
			fmt.Println(what+":", err)
		}
	}
	_, err := os.ReadDir(dir)
	tell("list the directory", err)
	_, err = os.ReadFile(filepath.Join(dir, "test.record"))
	tell("read the record", err)
	_, err = os.OpenFile(filepath.Join(dir, "test.gate.lock"), os.O_RDONLY, 0)
	tell("open the gate", err)
	n, _ := strconv.Atoi(port)
	for _, address := range [][4]byte{{127, 0, 0, 1}, {0, 0, 0, 0}} {
		for _, options := range [][]int{{}, {unix.SO_REUSEADDR}, {unix.SO_REUSEPORT}, {unix.SO_REUSEADDR, unix.SO_REUSEPORT}} {
			tell(fmt.Sprintf("bind %v with %v", address, options), bindWith(address, n, options))
		}
	}
}

func bindWith(address [4]byte, port int, options []int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o, 1); err != nil {
			return err
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: address}); err != nil {
		return err
	}
	return unix.Listen(fd, 1)
}

// sharedTestBinary copies this test where other users may run it.
func sharedTestBinary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "portshare-test")
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

// TestLaunchedControllerStandsAlone: what Ensure starts by itself must not hang on
// the companion: not on its terminal, its group, its directory or its descriptors.
func TestLaunchedControllerStandsAlone(t *testing.T) {
	s := here(t)
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	record, err := session.ControllerFile(false)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.MkdirAll(filepath.Dir(record), 0o700), os.WriteFile(record, []byte(exe+"\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(roleVariable, "server")
	r, i, err := Ensure(t.Context(), s, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer killPID(i.PID)
	proc := "/proc/" + strconv.Itoa(i.PID)
	if sid, err := unix.Getsid(i.PID); err != nil || sid != i.PID {
		t.Errorf("its system session is %d, %v; want one of its own, %d", sid, err, i.PID)
	}
	if dir, err := os.Readlink(proc + "/cwd"); dir != "/" {
		t.Errorf("its directory is %s, %v", dir, err)
	}
	for fd := range 3 {
		if to, err := os.Readlink(proc + "/fd/" + strconv.Itoa(fd)); to != "/dev/null" {
			t.Errorf("its descriptor %d is %s, %v", fd, to, err)
		}
	}
	if env, err := os.ReadFile(proc + "/environ"); !bytes.Contains(env, []byte("BERTH_SESSION=default\x00")) {
		t.Errorf("its session is not told, %v", err)
	}
}

// TestContainerDoesNotJudge: a participant in another process id namespace sees neither
// the controller nor its number, and must leave the record alone.
func TestContainerDoesNotJudge(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a process id namespace")
	}
	s := here(t)
	r, err := Join(s, "test", wokenOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	outside := start(t, "controller")
	published, err := r.Listening(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	inside := func(role string) *child {
		cmd, err := again(role)
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
		return startCommand(t, role, cmd)
	}
	companion := inside("companion")
	want := fmt.Sprintf("listening %d 1 %d <nil>", published.Port, published.PID)
	if got := companion.line(t); got != want {
		t.Errorf("inside: %s, want %s", got, want)
	}
	if got := info(t, r); got != published {
		t.Errorf("outside: %v, want %v", got, published)
	}
	// Nor does the outside judge a controller inside, whose number here is another's.
	outside.kill()
	if _, err := r.Wait(t.Context(), func(i Info) bool { return i.State == Reserved }); err != nil {
		t.Fatal(err)
	}
	controller := inside("controller")
	if got := controller.line(t); !strings.HasPrefix(got, "listening") {
		t.Fatal(got)
	}
	for range 3 {
		if got := info(t, r); got.State != Listening || got.Generation != 2 {
			t.Errorf("outside: %v", got)
		}
		if got, err := companion.ask(); err != nil || !strings.HasPrefix(got, "listening") {
			t.Errorf("inside: %s, %v", got, err)
		}
	}
	if _, err := Peek(s, "test"); err != nil {
		t.Errorf("an observer outside: %v", err)
	}
	// But a dead one must not keep its successor from starting, on whichever side.
	controller.kill()
	if _, err := Peek(s, "test"); !errors.Is(err, ErrStale) {
		t.Errorf("an observer outside, after the controller's death: %v", err)
	}
	successor := start(t, "controller")
	if got := successor.line(t); !strings.HasPrefix(got, fmt.Sprintf("listening %d 3", published.Port)) {
		t.Errorf("the successor outside says %s", got)
	}
	successor.kill()
	if got := inside("controller").line(t); !strings.HasPrefix(got, fmt.Sprintf("listening %d 4", published.Port)) {
		t.Errorf("the successor inside says %s", got)
	}
}

// TestFewThreads: one sleeping thread per record, not one per waiter.
func TestFewThreads(t *testing.T) {
	s := here(t)
	r, err := Join(s, "test")
	if err != nil {
		t.Fatal(err)
	}
	var asked sync.WaitGroup
	asked.Add(200)
	for range 200 {
		once := sync.OnceFunc(asked.Done)
		go r.Wait(t.Context(), func(Info) bool { once(); return false })
	}
	asked.Wait()
	if n := threads(t); n > 40 {
		t.Errorf("%d threads for 200 waiters", n)
	}
	r.Close()
}

func threads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}

func TestParseStat(t *testing.T) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	if st, err := parseStat(own); err != nil || st.start == 0 || !strings.ContainsRune("RS", rune(st.state)) {
		t.Errorf("%+v, %v", st, err)
	}
	tricky := []byte("42 (a) Z 1 (b)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21\n")
	if st, err := parseStat(tricky); err != nil || st.start != 777 || st.state != 'S' {
		t.Errorf("%+v, %v", st, err)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 1 2", "1 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 -1 20"} {
		if st, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, st)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) Z 1 (b)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21\n"))
	f.Fuzz(func(t *testing.T, text []byte) { checkStat(t, text) })
}

func checkStat(_ testing.TB, text []byte) {
	parseStat(text) //nolint:errcheck // it must not panic
}
