package transfer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

// TestNewStoreHasDurableNames: a power cut after the first acceptance must not
// take the folders away in which the store lies.
func TestNewStoreHasDurableNames(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "local", "state", "berth")
	synced := map[string]bool{}
	q := open(t, dir, mem{offline()}, func(c *Config) {
		c.syncDir = func(d string) error {
			synced[d] = true
			return syncDir(d)
		}
	})
	for d := q.store.dir; d != top; d = filepath.Dir(d) {
		if !synced[filepath.Dir(d)] {
			t.Errorf("the name of %s may be lost", d)
		}
	}
}

// TestForbiddenParent: above the state directory there may be folders that this
// user cannot look into; any other failure counts.
func TestForbiddenParent(t *testing.T) {
	top := t.TempDir()
	for want, refuse := range map[error]error{nil: syscall.EACCES, syscall.EIO: syscall.EIO} {
		cfg := Config{Dir: filepath.Join(top, newID()), Backend: func(string) (Backend, error) { return mem{offline()}, nil }}
		cfg.syncDir = func(d string) error {
			if d == top {
				return &os.PathError{Op: "open", Path: d, Err: refuse}
			}
			return nil
		}
		q, err := Open(t.Context(), cfg)
		if !errors.Is(err, want) {
			t.Errorf("%v above the state directory: %v", refuse, err)
		}
		if err == nil {
			drain(t, q)
		}
	}
}

// TestRefusedCommitStaysRefused: a commit that failed at its very end may be on
// the disk all the same. What was answered counts, also when the controller ends
// or is killed right after.
func TestRefusedCommitStaysRefused(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Queue, string) string{
		"drained": func(t *testing.T, q *Queue, dir string) string { drain(t, q); return dir },
		"killed": func(t *testing.T, q *Queue, dir string) string {
			copied := t.TempDir() // what a kill at this moment leaves
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			return copied
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var fail error
			q := open(t, dir, mem{offline()}, func(c *Config) { c.fault = func() error { return fail } })
			kept := submit(t, q, random(10))
			if err := q.Pause(kept.ID); err != nil { // nothing else is written from now on
				t.Fatal(err)
			}
			q.store.update(func(*bbolt.Tx) error { fail = syscall.EIO; return nil }, nil) //nolint:errcheck // it fails, as it should
			p, err := q.NewPackage("", "d")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.AddFile(t.Context(), writeFile(t, "f", random(10)), ""); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Commit(t.Context()); !errors.Is(err, syscall.EIO) {
				t.Fatalf("commit with a failing disk: %v", err)
			}
			dir = end(t, q, dir)
			next := open(t, dir, mem{offline()})
			if got := states(next); len(got) != 1 || got[kept.ID] != Paused {
				t.Errorf("after a restart there are %v", got)
			}
		})
	}
}

// TestCancelAtTheMomentOfFailure: the run has just looked whether it was stopped
// when the cancel comes. The clean-up must not wait for the failure's back-off.
func TestCancelAtTheMomentOfFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer()
		hold := make(chan struct{})
		s.onWrite = func(context.Context, *part, []byte) (int, error) {
			<-hold
			return 0, errors.New("connection reset")
		}
		q := open(t, t.TempDir(), mem{s})
		id := submit(t, q, random(1<<20)).ID
		synctest.Wait()
		if err := q.Cancel(id); err != nil {
			t.Fatal(err)
		}
		q.settle(context.Background(), q.jobs[id], errors.New("connection reset"))
		began := time.Now()
		close(hold)
		await(t, q, id, func(Job) bool { return s.empty() })
		if took := time.Since(began); took != 0 {
			t.Errorf("the clean-up waited for %v", took)
		}
	})
}

// TestMergeOnAFailingDisk: the start fails, and nothing is lost by it.
func TestMergeOnAFailingDisk(t *testing.T) {
	dir, s := t.TempDir(), offline()
	a, b := open(t, dir, mem{s}), open(t, dir, mem{s})
	ids := append(fillQueue(t, a), fillQueue(t, b)...)
	drain(t, a)
	drain(t, b)
	cfg := Config{Dir: dir, Backend: func(string) (Backend, error) { return mem{s}, nil }, fault: func() error { return syscall.EIO }}
	if _, err := Open(t.Context(), cfg); !errors.Is(err, syscall.EIO) {
		t.Fatalf("merging on a failing disk: %v", err)
	}
	finishAll(t, dir, ids)
}
