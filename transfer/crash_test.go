package transfer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestMain turns this program into a controller that kills itself, when asked.
func TestMain(m *testing.M) {
	if plan := os.Getenv("BERTH_CRASH_PLAN"); plan != "" {
		if err := crashingController(plan, os.Getenv("BERTH_CRASH_DIR"), os.Getenv("BERTH_CRASH_STEP")); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashSize is the size of each of the two items: a piece and a bit.
const crashSize = 1<<20 + 77

// crashData is what item n holds, in every process.
func crashData(n int) []byte {
	b := make([]byte, crashSize)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// crashingController runs a plan in dir and ends itself by a kill at the given
// step: the nth change on the disk or on the server, counted over the process.
// What it prints was acknowledged.
func crashingController(plan, dir, at string) error {
	kill, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return err
	}
	var steps atomic.Int64
	step := func(string) {
		if steps.Add(1) == kill {
			killSelf()
		}
	}
	srv := dirServer{filepath.Join(dir, "server"), step}
	q, err := Open(context.Background(), Config{
		Dir: filepath.Join(dir, "state"), Concurrency: 2,
		Backend: func(string) (Backend, error) { return srv, nil },
		fault:   func() error { step("stored"); return nil },
	})
	if err != nil {
		return err
	}
	switch plan {
	case "wake":
		return errors.Join(wakePlan(q), finishPlan(q))
	case "finish":
		return finishPlan(q)
	}
	id, err := crashCommit(q, dir, plan == "retry")
	if err != nil {
		return err
	}
	fmt.Println("accepted", id)
	if err := runPlan(q, plan, id); err != nil {
		return err
	}
	return q.Drain(context.Background())
}

func killSelf() {
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	select {} // until it arrives
}

// crashCommit hands over two items, one of them from memory unless byPath: a
// canceled job whose bytes were spooled can be retried only until its clean-up.
func crashCommit(q *Queue, dir string, byPath bool) (string, error) {
	p, err := q.NewPackage("crash", "d")
	if err != nil {
		return "", err
	}
	if _, err := p.AddFile(context.Background(), filepath.Join(dir, "file"), ""); err != nil {
		return "", err
	}
	if byPath {
		_, err = p.AddFile(context.Background(), filepath.Join(dir, "memory"), "")
	} else {
		_, err = p.AddReader(context.Background(), "memory", bytes.NewReader(crashData(1)))
	}
	if err != nil {
		return "", err
	}
	j, err := p.Commit(context.Background())
	return j.ID, err
}

// runPlan carries a plan out and prints what was acknowledged.
func runPlan(q *Queue, plan, id string) error {
	do := func(word string, f func(string) error) error {
		if err := f(id); err != nil && !errors.Is(err, ErrState) {
			return err
		} else if err == nil {
			fmt.Println(word)
		}
		return nil
	}
	switch plan {
	case "deliver":
		return waitFor(q, id, func(j Job) bool { return j.State == Done })
	case "pause":
		return errors.Join(waitFor(q, id, func(j Job) bool { return j.BytesDone() > 0 }), do("paused", q.Pause))
	case "resume":
		return errors.Join(do("paused", q.Pause), do("resumed", q.Resume), waitFor(q, id, func(j Job) bool { return j.State == Done }))
	case "cancel":
		err := errors.Join(waitFor(q, id, func(j Job) bool { return j.BytesDone() > 0 }), do("canceled", q.Cancel))
		return errors.Join(err, waitFor(q, id, cleanOrDone(q)))
	case "retry":
		err := errors.Join(do("canceled", q.Cancel), do("retried", q.Retry))
		return errors.Join(err, waitFor(q, id, func(j Job) bool { return j.State.final() }))
	}
	return errors.New("no such plan")
}

// cleanOrDone: a canceled job has nothing on the server any more, or it was done
// before the cancel.
func cleanOrDone(q *Queue) func(Job) bool {
	return func(j Job) bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return j.State == Done || j.State == Canceled && !q.jobs[j.ID].leftovers()
	}
}

// wakePlan resumes every paused job.
func wakePlan(q *Queue) error {
	for _, j := range q.Jobs() {
		if j.State != Paused {
			continue
		}
		if err := q.Resume(j.ID); err != nil {
			return err
		}
	}
	return nil
}

// finishPlan lets every job come to its end and prints how it stands.
func finishPlan(q *Queue) error {
	for _, j := range q.Jobs() {
		if j.State == Paused {
			fmt.Println("state", j.ID, j.State, 0)
			continue
		}
		if err := waitFor(q, j.ID, cleanOrDone(q)); err != nil {
			return err
		}
		j, _ = q.Job(j.ID)
		fmt.Println("state", j.ID, j.State, j.Items[0].Resent+j.Items[1].Resent)
	}
	return q.Drain(context.Background())
}

func waitFor(q *Queue, id string, ok func(Job) bool) error {
	for e := range q.Watch(context.Background()) {
		if e.Kind == JobChanged && e.ID == id {
			if ok(e.Job) {
				return nil
			}
			if e.Job.State == Failed {
				return errors.New(e.Job.Error)
			}
		}
	}
	return nil
}

// crash runs a plan in another process, killed at a step, and answers what it
// printed and whether it came to its end.
func crash(t *testing.T, dir, plan string, step int) (lines []string, ended bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "BERTH_CRASH_PLAN="+plan, "BERTH_CRASH_DIR="+dir, "BERTH_CRASH_STEP="+strconv.Itoa(step))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	all := out.String()
	for sc := bufio.NewScanner(&out); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), "error:") || strings.Contains(sc.Text(), "panic") || strings.Contains(sc.Text(), "DATA RACE") {
			t.Fatalf("%s, killed at step %d: %s\n%s", plan, step, sc.Text(), all)
		}
		lines = append(lines, sc.Text())
	}
	return lines, err == nil
}

func has(lines []string, word string) bool {
	for _, l := range lines {
		if w, _, _ := strings.Cut(l, " "); w == word {
			return true
		}
	}
	return false
}

// crashDir answers a folder with source files and an empty server. A kill is no
// power cut, so it may lie in memory, where an fsync costs nothing.
func crashDir(t *testing.T) (dir string, remove func()) {
	t.Helper()
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "crash")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "server"), 0o700), os.WriteFile(filepath.Join(dir, "file"), crashData(0), 0o600), os.WriteFile(filepath.Join(dir, "memory"), crashData(1), 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir, func() { os.RemoveAll(dir) }
}

// TestKillAtEveryStep kills a controller at each change of its disk and of the
// server, then lets another one finish. What was acknowledged must hold. The
// plans other than delivery share most steps with it: short runs take one in
// three of theirs, from a random one on.
func TestKillAtEveryStep(t *testing.T) {
	for _, plan := range []string{"deliver", "pause", "resume", "cancel", "retry"} {
		t.Run(plan, func(t *testing.T) {
			t.Parallel()
			first, stride := 1, 1
			if plan != "deliver" {
				stride = rounds(3, 1)
				first += rand.IntN(stride)
			}
			for step := first; ; step += stride {
				dir, remove := crashDir(t)
				t.Cleanup(remove)
				said, ended := crash(t, dir, plan, step)
				after, finished := crash(t, dir, "finish", 0)
				if !finished {
					t.Fatalf("killed at step %d, the next controller said %q", step, after)
				}
				checkCrash(t, dir, plan, step, said, after)
				checkWake(t, dir, plan, step, after)
				remove()
				if ended {
					if step < 5 {
						t.Errorf("only %d steps", step)
					}
					return
				}
			}
		})
	}
}

// TestTortureKills kills one controller after the other, at random steps, until
// the job is done all the same.
func TestTortureKills(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range rounds(3, 1000) {
		dir, remove := crashDir(t)
		t.Cleanup(remove)
		said, _ := crash(t, dir, "deliver", 6+rnd.IntN(30))
		kills := 1
		for ended := false; !ended; kills++ {
			_, ended = crash(t, dir, "finish", 1+rnd.IntN(12))
		}
		after, _ := crash(t, dir, "finish", 0)
		checkCrash(t, dir, "deliver", kills*1000, said, after)
		remove()
	}
}

// checkCrash compares what was acknowledged with how things stand in the end.
func checkCrash(t *testing.T, dir, plan string, step int, said, after []string) {
	t.Helper()
	var id, state string
	var resent int64
	for _, l := range after {
		if _, err := fmt.Sscanf(l, "state %s %s %d", &id, &state, &resent); err != nil {
			t.Fatalf("%s, killed at step %d: %q", plan, step, l)
		}
	}
	sums := serverSums(t, dir)
	both := bothArrived(sums)
	var ok bool
	switch {
	case !has(said, "accepted"):
		ok = state == "" && len(sums) == 0 || state == string(Done) && both
	case has(said, "retried"), has(said, "resumed"), plan == "deliver":
		ok = state == string(Done) && both
	case has(said, "canceled") && plan == "cancel":
		ok = state == string(Canceled) && len(sums) == 0
	case has(said, "paused") && plan == "pause":
		// Both may be there: the pause came after the last of them and before the
		// job was done. checkWake sees to what becomes of it.
		ok = state == string(Paused)
	default: // the command was not acknowledged: either is right, whole
		ok = state == string(Done) && both || state == string(Canceled) && len(sums) == 0 || state == string(Paused)
	}
	if !ok {
		t.Errorf("%s, killed at step %d: said %q, then %q; the server has %d files", plan, step, said, after, len(sums))
	}
	if most := int64(ChunkSize) * int64(1+step/1000); resent > most {
		t.Errorf("%s, killed at step %d: %d bytes were sent again", plan, step, resent)
	}
}

// checkWake resumes the job when it is still paused, is killed on the way, resumes
// again: a pause must leave nothing behind that keeps a job from its end.
func checkWake(t *testing.T, dir, plan string, step int, after []string) {
	t.Helper()
	if len(after) != 1 || !strings.HasSuffix(after[0], " "+string(Paused)+" 0") {
		return
	}
	kill := 1 + rand.IntN(30)
	first, _ := crash(t, dir, "wake", kill)
	last, ended := crash(t, dir, "wake", 0)
	var id, state string
	var resent int64
	if len(last) == 1 {
		_, _ = fmt.Sscanf(last[0], "state %s %s %d", &id, &state, &resent)
	}
	sums := serverSums(t, dir)
	if !ended || state != string(Done) || !bothArrived(sums) || resent > 2*ChunkSize {
		t.Errorf("%s, killed at step %d, resumed and killed at step %d: %q, resumed again: %q; the server has %d files", plan, step, kill, first, last, len(sums))
	}
}

// bothArrived says whether the server has the two files and nothing else.
func bothArrived(sums map[string]bool) bool {
	return len(sums) == 2 && sums[sum(crashData(0))] && sums[sum(crashData(1))]
}

// serverSums answers the hashes of everything on the server, parts included.
func serverSums(t *testing.T, dir string) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "server"))
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]bool{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, "server", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		key := sum(b)
		if strings.HasSuffix(e.Name(), ".part") {
			key = e.Name() // counted, but never taken for a file
		}
		sums[key] = true
	}
	return sums
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
