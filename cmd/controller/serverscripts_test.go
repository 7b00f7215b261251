package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/control"
)

// cmdServe starts a real file server behind a front and puts what a client needs
// into the environment: SERVER (its URL as a destination), PASSWORD, ROOT,
// HOSTKEY. The password stands in password.txt as well. A second one takes over
// the address of the first.
func cmdServe(ts *testscript.TestScript, _ bool, args []string) {
	dir, err := os.MkdirTemp("", "berth-server-")
	ts.Check(err)
	ts.Check(os.Chmod(dir, 0o755)) // the server's own user has to get there
	s, err := startServerProcess(args[0], dir)
	ts.Check(err)
	f := ts.Value(frontKey{}).(*front)
	f.down()
	ts.Check(f.up(s.Addr))
	ts.Defer(func() {
		f.down()
		s.stop()
		_ = os.RemoveAll(dir)
	})
	ts.Setenv("SERVER", strings.Replace(destinationURL(s.Server), s.Addr, f.addr, 1))
	ts.Setenv("PASSWORD", s.Password)
	ts.Setenv("ROOT", s.Root)
	ts.Setenv("HOSTKEY", s.HostKey)
	ts.Check(os.WriteFile(ts.MkAbs("password.txt"), []byte(s.Password+"\n"), 0o600))
}

func cmdDown(ts *testscript.TestScript, _ bool, _ []string) { ts.Value(frontKey{}).(*front).down() }

func cmdUp(ts *testscript.TestScript, _ bool, _ []string) {
	f := ts.Value(frontKey{}).(*front)
	ts.Check(f.up(f.target))
}

// cmdWaiting waits until a job is queued again because of a passing failure.
func cmdWaiting(ts *testscript.TestScript, _ bool, _ []string) {
	c := scriptClient(ts)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for ev := range c.Watch(ctx) {
		if ev.Type != control.EventJob {
			continue
		}
		if finished(*ev.Job) {
			ts.Fatalf("the job is %s: %s", ev.Job.State, ev.Job.Error)
		}
		if ev.Job.State == "queued" && ev.Job.Error != "" {
			return
		}
	}
	ts.Fatalf("no job came to wait for another try")
}

// cmdDelivered looks for a file with the same bytes on the server, under the
// same name where the server keeps names.
func cmdDelivered(ts *testscript.TestScript, _ bool, args []string) {
	want, found := []byte(ts.ReadFile(args[0])), false
	for path, size := range filesBelow(ts, ts.Getenv("ROOT")) {
		if size != int64(len(want)) {
			continue
		}
		got, err := os.ReadFile(path)
		ts.Check(err)
		keepsNames := !strings.HasPrefix(ts.Getenv("SERVER"), "tus")
		found = found || bytes.Equal(got, want) && (!keepsNames || filepath.Base(path) == filepath.Base(args[0]))
	}
	if !found {
		ts.Fatalf("%s is not on the server: %v", args[0], filesBelow(ts, ts.Getenv("ROOT")))
	}
}

// cmdCleared waits until nothing at all is left on the server.
func cmdCleared(ts *testscript.TestScript, _ bool, _ []string) {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		left := filesBelow(ts, ts.Getenv("ROOT"))
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("left on the server: %v", left)
		}
	}
}

func filesBelow(ts *testscript.TestScript, root string) map[string]int64 {
	found := map[string]int64{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed under our eyes
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			found[path] = info.Size()
		}
		return nil
	})
	ts.Check(err)
	return found
}

// cmdSecretless looks for a secret in everything that a controller writes but
// the one file that is meant for secrets.
func cmdSecretless(ts *testscript.TestScript, _ bool, args []string) {
	for _, root := range []string{ts.Getenv("BERTH_STATE"), filepath.Dir(ts.Getenv("CONFIG"))} {
		for path := range filesBelow(ts, root) {
			text, err := os.ReadFile(path)
			ts.Check(err)
			if filepath.Base(path) != "credentials.json" && bytes.Contains(text, []byte(args[0])) {
				ts.Fatalf("the secret stands in %s", path)
			}
		}
	}
}

// cmdZeros leaves the rest of some other upload on the server, as if its own user
// had: zeros FILE SIZE.
func cmdZeros(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.WriteFile(args[0], make([]byte, n), 0o666))
	ts.Check(os.Chmod(args[0], 0o666))
}
