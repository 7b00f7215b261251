package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/control"
	"berth/ipc"
	"berth/portshare"
)

// cmdListening waits until a controller listens and puts its pid and port into
// the environment: listening [PID-VARIABLE [PORT-VARIABLE]].
func cmdListening(ts *testscript.TestScript, _ bool, args []string) {
	rec, err := portshare.Join(scriptSession(ts), app)
	ts.Check(err)
	defer rec.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	info, err := rec.Listening(ctx)
	ts.Check(err)
	for i, value := range []int{info.PID, info.Port} {
		if i < len(args) {
			ts.Setenv(args[i], strconv.Itoa(value))
		}
	}
}

// cmdCrash kills the controller as kill -9 does.
func cmdCrash(ts *testscript.TestScript, _ bool, _ []string) {
	s := scriptSession(ts)
	info, err := portshare.Peek(s, app)
	ts.Check(err)
	p, err := os.FindProcess(info.PID)
	ts.Check(err)
	ts.Check(p.Kill())
	_, _ = p.Wait()
	cmdGone(ts, false, nil)
}

// cmdGone waits until no controller listens.
func cmdGone(ts *testscript.TestScript, _ bool, _ []string) {
	rec, err := portshare.Join(scriptSession(ts), app)
	ts.Check(err)
	defer rec.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = rec.Wait(ctx, func(i portshare.Info) bool { return i.State == portshare.Reserved })
	ts.Check(err)
}

func scriptClient(ts *testscript.TestScript) *control.Client {
	s := scriptSession(ts)
	return &control.Client{Resolve: func(context.Context) (control.Target, error) { return peek(s) }}
}

// cmdSays waits until a file holds a text that matches: says FILE PATTERN.
func cmdSays(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[1])
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		b, _ := os.ReadFile(ts.MkAbs(args[0]))
		if want.Match(b) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s does not say %q: %s", args[0], args[1], b)
		}
	}
}

// cmdAwait waits until every job is in a state: await STATE [BYTES]. With BYTES,
// until every job has at least so many at the server. It fails at once when a
// job fails or is canceled without being asked for.
func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	var atLeast int64
	if len(args) > 1 {
		n, err := strconv.ParseInt(args[1], 10, 64)
		ts.Check(err)
		atLeast = n
	}
	c := scriptClient(ts)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	jobs := map[string]control.Job{}
	ready := false
	for ev := range c.Watch(ctx) {
		if ev.Type == control.EventJob {
			jobs[ev.Job.ID] = *ev.Job
		}
		ready = ready || ev.Type == control.EventReady
		if ready && awaited(ts, jobs, args[0], atLeast) {
			return
		}
	}
	ts.Fatalf("jobs did not come to %v: %+v", args, jobs)
}

func awaited(ts *testscript.TestScript, jobs map[string]control.Job, state string, atLeast int64) bool {
	for _, j := range jobs {
		if j.State != state && finished(j) {
			ts.Fatalf("job %s is %s, not %s: %s", j.ID, j.State, state, j.Error)
		}
		if j.State != state || j.BytesDone < atLeast {
			return false
		}
	}
	return len(jobs) > 0
}

// cmdRandom writes a file that no compression or cache can know: random FILE SIZE.
func cmdRandom(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = io.CopyN(f, rand.Reader, n)
	ts.Check(err)
	ts.Check(f.Close())
}

// cmdChange flips one byte in the middle of a file, under the controller's eyes.
func cmdChange(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	info, err := f.Stat()
	ts.Check(err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, info.Size()/2)
	ts.Check(err)
	_, err = f.WriteAt([]byte{b[0] ^ 1}, info.Size()/2)
	ts.Check(err)
	ts.Check(f.Close())
}

// cmdFetch fetches the link of the job that sent FILE as a browser would, whole
// and in part, and compares bytes and name: fetch FILE.
func cmdFetch(ts *testscript.TestScript, _ bool, args []string) {
	want, name := []byte(ts.ReadFile(args[0])), filepath.Base(args[0])
	link := linkOf(ts, name)
	got, head := get(ts, link, "")
	if !bytes.Equal(got, want) {
		ts.Fatalf("%s gives %d bytes, not the %d that were sent", link, len(got), len(want))
	}
	_, params, err := mime.ParseMediaType(head.Get("Content-Disposition"))
	if err != nil || params["filename"] != name {
		ts.Fatalf("it would be saved as %q (%v), not as %q", params["filename"], err, name)
	}
	if len(want) < 2 {
		return
	}
	from := len(want) / 2
	if part, _ := get(ts, link, fmt.Sprintf("bytes=%d-", from)); !bytes.Equal(part, want[from:]) {
		ts.Fatalf("the second half of %s differs: a broken download could not go on", link)
	}
}

func linkOf(ts *testscript.TestScript, name string) string {
	c := scriptClient(ts)
	defer c.Close()
	jobs, err := c.List(context.Background(), control.Filter{})
	ts.Check(err)
	for _, j := range jobs {
		for _, it := range j.Items {
			if it.Name == name && it.Link != "" {
				return it.Link
			}
		}
	}
	ts.Fatalf("there is no link of %q", name)
	return ""
}

func get(ts *testscript.TestScript, link, part string) ([]byte, http.Header) {
	req, err := http.NewRequest(http.MethodGet, link, nil)
	ts.Check(err)
	want := http.StatusOK
	if part != "" {
		req.Header.Set("Range", part)
		want = http.StatusPartialContent
	}
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode != want {
		ts.Fatalf("%s answers %s", link, resp.Status)
	}
	data, err := io.ReadAll(resp.Body)
	ts.Check(err)
	return data, resp.Header
}

// cmdResent checks how many bytes the first job sent more than once, at most.
func cmdResent(ts *testscript.TestScript, _ bool, args []string) {
	most, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	c := scriptClient(ts)
	defer c.Close()
	jobs, err := c.List(context.Background(), control.Filter{})
	ts.Check(err)
	ts.Logf("bytes sent again: %d", jobs[0].BytesResent)
	if jobs[0].BytesResent > most {
		ts.Fatalf("%d bytes were sent again, more than %d", jobs[0].BytesResent, most)
	}
}

// cmdDamage overwrites the middle of every store of the session.
func cmdDamage(ts *testscript.TestScript, _ bool, _ []string) {
	for _, path := range storeFiles(ts) {
		data, err := os.ReadFile(path)
		ts.Check(err)
		copy(data, bytes.Repeat([]byte("damage! "), len(data)/8))
		ts.Check(os.WriteFile(path, data, 0o600))
	}
}

// cmdDamaged checks that the damaged stores are still what cmdDamage made.
func cmdDamaged(ts *testscript.TestScript, _ bool, _ []string) {
	for _, path := range storeFiles(ts) {
		data, err := os.ReadFile(path)
		ts.Check(err)
		if !bytes.HasPrefix(data, []byte("damage! ")) {
			ts.Fatalf("%s was touched", path)
		}
	}
}

func storeFiles(ts *testscript.TestScript) []string {
	var found []string
	err := filepath.WalkDir(ts.Getenv("BERTH_STATE"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".db") {
			found = append(found, path)
		}
		return err
	})
	ts.Check(err)
	if len(found) == 0 {
		ts.Fatalf("there is no store below %s", ts.Getenv("BERTH_STATE"))
	}
	return found
}

// cmdJobID puts the ID of the newest job into the environment: jobid VARIABLE.
func cmdJobID(ts *testscript.TestScript, _ bool, args []string) {
	c := scriptClient(ts)
	defer c.Close()
	jobs, err := c.List(context.Background(), control.Filter{})
	ts.Check(err)
	ts.Setenv(args[0], jobs[len(jobs)-1].ID)
}

// cmdPatch changes one byte of a file: patch FILE OFFSET VALUE.
func cmdPatch(ts *testscript.TestScript, _ bool, args []string) {
	offset, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	value, err := strconv.ParseUint(args[2], 10, 8)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt([]byte{byte(value)}, offset)
	ts.Check(err)
	ts.Check(f.Close())
}

// cmdRegister registers a companion with the engine until the script ends: register NAME.
func cmdRegister(ts *testscript.TestScript, _ bool, args []string) {
	info, err := portshare.Peek(scriptSession(ts), app)
	ts.Check(err)
	c, err := ipc.Dial(context.Background(), info.Endpoint, args[0])
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
}

// cmdCompanion starts a companion that stays, as a mail program does, and waits
// until it takes part; it ends with the script, or is killed by: companion kill.
func cmdCompanion(ts *testscript.TestScript, _ bool, args []string) {
	f := ts.Value(frontKey{}).(*front)
	if len(args) > 0 && args[0] == "kill" {
		ts.Check(f.companion.Process.Kill())
		_ = f.companion.Wait()
		return
	}
	cmd := exec.Command("addin-sim", "port", "--hold", "1h")
	cmd.Env = append(os.Environ(), "BERTH_SESSION="+ts.Getenv("BERTH_SESSION"))
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	f.companion = cmd
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, err = bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
}
