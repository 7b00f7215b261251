package transfer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of a few MiB.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a small disk can be mounted by root only")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("no tmpfs can be mounted here:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// hog fills a disk to its last byte and answers how to give it back.
func hog(t *testing.T, dir string) (free func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "hog"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	return func() {
		if err := os.Remove(f.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk fills the disk under a working queue: every refusal says so and
// what to do, nothing acknowledged is lost, and with room again all goes on.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, "8m")
	dir := filepath.Join(disk, "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := offline()
	q := open(t, dir, mem{s})
	kept := submit(t, q, random(1000))
	free := hog(t, disk)

	p, err := q.NewPackage("x", "d")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.AddReader(t.Context(), "big", bytes.NewReader(random(3<<20)))
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "Free some space") {
		t.Fatalf("AddReader on a full disk: %v", err)
	}
	if left, _ := os.ReadDir(q.store.spool("")); len(left) != 0 {
		t.Errorf("half an item stayed: %v", left)
	}
	path := writeFile(t, "f", random(10))
	accepted := map[string]bool{kept.ID: true}
	refused := fillStore(t, q, path, accepted)
	if len(q.Jobs()) != len(accepted) {
		t.Errorf("%d jobs, %d were accepted", len(q.Jobs()), len(accepted))
	}
	free()
	j, err := refused.Commit(t.Context())
	if err != nil {
		t.Fatalf("commit with room again: %v", err)
	}
	accepted[j.ID] = true
	drain(t, q)
	s.set(func(s *server) { s.onBegin = nil })
	q = open(t, dir, mem{s})
	if len(q.Jobs()) != len(accepted) {
		t.Errorf("after a restart %d jobs, %d were accepted", len(q.Jobs()), len(accepted))
	}
	for id := range accepted {
		awaitDone(t, q, id)
	}
	drain(t, q)
}

// fillStore commits packages of many items until the disk refuses one, which it
// answers.
func fillStore(t *testing.T, q *Queue, path string, accepted map[string]bool) *Package {
	t.Helper()
	for {
		p, err := q.NewPackage("many", "d")
		if err != nil {
			t.Fatal(err)
		}
		for range 500 {
			if _, err := p.AddFile(t.Context(), path, ""); err != nil {
				t.Fatal(err)
			}
		}
		j, err := p.Commit(t.Context())
		if errors.Is(err, ErrNoSpace) {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		accepted[j.ID] = true
	}
}

// TestStartOnFullDisk: a new store needs room and says so; one that is there
// opens without.
func TestStartOnFullDisk(t *testing.T) {
	disk := smallDisk(t, "2m")
	cfg := Config{Dir: filepath.Join(disk, "state"), Backend: func(string) (Backend, error) { return mem{offline()}, nil }}
	free := hog(t, disk)
	if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("opening a new store on a full disk: %v", err)
	}
	free()
	q, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	j := submit(t, q, random(10))
	drain(t, q)
	if n := len(storeDirs(t, cfg.Dir)); n != 1 {
		t.Errorf("%d stores", n)
	}
	defer hog(t, disk)()
	if q, err = Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if _, ok := q.Job(j.ID); !ok {
		t.Error("the job is lost")
	}
	drain(t, q)
}

// TestFullDiskUnderWay: while an upload runs its steps cannot be noted, each at
// its time. The job waits, says why, and ends well when there is room.
func TestFullDiskUnderWay(t *testing.T) {
	for step := range 6 {
		t.Run(strconv.Itoa(step), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				var commits atomic.Int64
				full := func() error {
					if n := commits.Add(1) - int64(step); n >= 2 && n < 5 { // the first is the acceptance
						return unix.ENOSPC
					}
					return nil
				}
				q := open(t, t.TempDir(), mem{s}, func(c *Config) { c.fault = full })
				data := random(2 << 20)
				j := submit(t, q, data)
				got := await(t, q, j.ID, func(j Job) bool { return j.Error != "" || j.State == Done })
				if got.State != Done && (!strings.Contains(got.Error, "is full") || got.State == Failed) {
					t.Errorf("%s: %s", got.State, got.Error)
				}
				wantFile(t, s, awaitDone(t, q, j.ID).Items[0], data)
			})
		})
	}
}
