package transfer

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"
)

// offline refuses everything for now, so that jobs stay queued.
func offline() *server {
	s := newServer()
	s.onBegin = func(Object) error { return errors.New("offline") }
	return s
}

// collect answers the ids and states of a queue's jobs.
func states(q *Queue) map[string]State {
	m := map[string]State{}
	for _, j := range q.Jobs() {
		m[j.ID] = j.State
	}
	return m
}

// fill gives a queue a job by path and one from memory and answers their ids.
func fillQueue(t testing.TB, q *Queue) []string {
	t.Helper()
	p, err := q.NewPackage("m", "d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddReader(t.Context(), "m", bytes.NewReader(random(1000))); err != nil {
		t.Fatal(err)
	}
	j, err := p.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return []string{submit(t, q, random(1000)).ID, j.ID}
}

func storeDirs(t testing.TB, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "stores", "default", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, d := range all {
		if validID(filepath.Base(d)) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// finishAll opens dir with a server that works and waits for every job.
func finishAll(t testing.TB, dir string, ids []string) {
	t.Helper()
	s := newServer()
	q := open(t, dir, mem{s})
	if got := len(q.Jobs()); got != len(ids) {
		t.Fatalf("%d jobs, want %d", got, len(ids))
	}
	for _, id := range ids {
		awaitDone(t, q, id)
	}
	if n := len(storeDirs(t, dir)); n != 1 {
		t.Errorf("%d stores are left", n)
	}
	drain(t, q)
}

// TestAdopt: two controllers of one key work beside each other, each with a
// store of its own; the next one takes over what both left.
func TestAdopt(t *testing.T) {
	dir, s := t.TempDir(), offline()
	a := open(t, dir, mem{s})
	b := open(t, dir, mem{s})
	ids := append(fillQueue(t, a), fillQueue(t, b)...)
	if len(a.Jobs()) != 2 || len(b.Jobs()) != 2 || len(storeDirs(t, dir)) != 2 {
		t.Fatal("two live queues share a store")
	}
	drain(t, a)
	c := open(t, dir, mem{s}) // b still lives: only a's jobs are free
	if got := states(c); len(got) != 2 || got[ids[0]] == "" {
		t.Fatalf("third queue has %v", got)
	}
	drain(t, b)
	drain(t, c)
	other := open(t, dir, mem{s}, func(c *Config) { c.Key = "work" })
	if len(other.Jobs()) != 0 {
		t.Fatal("a queue adopted the jobs of another key")
	}
	finishAll(t, dir, ids)
	finishAll(t, dir, ids)
}

// TestAdoptAfterCut makes by hand what a cut at each step of a merge leaves
// behind, with either of the two stores coming first.
func TestAdoptAfterCut(t *testing.T) {
	for name, cut := range map[string]func(t *testing.T, main, other string){
		"before anything": func(*testing.T, string, string) {},
		"files moved": func(t *testing.T, main, other string) {
			if err := moveFiles(other, main); err != nil {
				t.Fatal(err)
			}
		},
		"records merged": func(t *testing.T, main, other string) {
			copyRecords(t, main, other)
		},
		"renamed": func(t *testing.T, main, other string) {
			copyRecords(t, main, other)
			if err := errors.Join(os.Rename(other, other+".new"), os.Remove(filepath.Join(other+".new", dbName))); err != nil {
				t.Fatal(err)
			}
		},
		"half a new store": func(t *testing.T, main, _ string) {
			if err := os.MkdirAll(filepath.Join(filepath.Dir(main), newID()+".new", spoolName), 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, order := range []string{"first", "second"} {
			t.Run(name+"/"+order, func(t *testing.T) {
				dir, s := t.TempDir(), offline()
				a, b := open(t, dir, mem{s}), open(t, dir, mem{s})
				ids := append(fillQueue(t, a), fillQueue(t, b)...)
				drain(t, a)
				drain(t, b)
				dirs := storeDirs(t, dir)
				if order == "second" {
					dirs[0], dirs[1] = dirs[1], dirs[0]
				}
				cut(t, dirs[0], dirs[1])
				finishAll(t, dir, ids)
			})
		}
	}
}

func copyRecords(t *testing.T, main, other string) {
	t.Helper()
	if err := moveFiles(other, main); err != nil {
		t.Fatal(err)
	}
	from, jobs, err := readStore(other)
	if err != nil {
		t.Fatal(err)
	}
	from.Close()
	to, _, err := openStore(main, flock.New(main+".lock"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(to.update(func(tx *bbolt.Tx) error { return putAll(tx, jobs) }, nil), to.close()); err != nil {
		t.Fatal(err)
	}
}

// TestDamage: a damaged store is refused, says so, stays as it is, and is put
// aside only when asked.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(db string) error{
		"cut short": func(db string) error { return os.Truncate(db, 9000) },
		"one page":  func(db string) error { return os.Truncate(db, 4096) },
		"empty":     func(db string) error { return os.Truncate(db, 0) },
		"missing":   os.Remove,
		"garbage":   func(db string) error { return os.WriteFile(db, random(32<<10), 0o600) },
		"zeros":     func(db string) error { return os.WriteFile(db, make([]byte, 32<<10), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, s := t.TempDir(), offline()
			q := open(t, dir, mem{s})
			fillQueue(t, q)
			drain(t, q)
			store := storeDirs(t, dir)[0]
			if err := damage(filepath.Join(store, dbName)); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(filepath.Join(store, dbName))
			cfg := Config{Dir: dir, Backend: func(string) (Backend, error) { return mem{s}, nil }}
			for range 2 {
				_, err := Open(t.Context(), cfg)
				if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), store) {
					t.Fatalf("opening it: %v", err)
				}
			}
			after, _ := os.ReadFile(filepath.Join(store, dbName))
			if !bytes.Equal(before, after) {
				t.Error("the damaged store was changed")
			}
			cfg.SetAside = true
			q, err := Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			drain(t, q)
			if kept, _ := filepath.Glob(store + ".damaged-*"); len(kept) != 1 {
				t.Errorf("kept %v", kept)
			}
		})
	}
}

// TestFlippedBits: whatever bit of a store flips, its jobs are all there or it is
// refused. The one exception are the two first pages: a newest one that is not
// valid is what a power cut leaves, so the one before it counts.
func TestFlippedBits(t *testing.T) {
	dir, s := t.TempDir(), offline()
	q := open(t, dir, mem{s})
	fillQueue(t, q)
	fillQueue(t, q)
	want := q.records()
	drain(t, q)
	store := storeDirs(t, dir)[0]
	path := filepath.Join(store, dbName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for at := 2 * os.Getpagesize(); at < len(good); at += 97 {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		db, jobs, err := readStore(store)
		if err != nil {
			refused++
			continue
		}
		db.Close()
		if len(jobs) != len(want) {
			t.Fatalf("with byte %d flipped %d of %d jobs are there", at, len(jobs), len(want))
		}
	}
	if refused == 0 {
		t.Error("no flipped bit was ever seen")
	}
}

// TestTortureStore damages stores of many pages, mostly where the structure is:
// bbolt alone would crash the process or run in circles. Opening must end, in
// this goroutine, with an error or with a store.
func TestTortureStore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, dbName)
	var jobs []stored
	for range 40 {
		jobs = append(jobs, aJob())
	}
	if err := writeStore(path, jobs); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range rounds(500, 1_000_000) {
		bad := bytes.Clone(good)
		for range 1 + rnd.IntN(3) {
			bad[rnd.IntN(len(bad)/4096)*4096+rnd.IntN(1<<rnd.IntN(13))] ^= byte(1 + rnd.IntN(255))
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if db, _, err := readStore(dir); err == nil {
			db.Close()
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	}
}

// rounds is how often a torture test turns: a few times, or for hours.
func rounds(few, many int) int {
	if os.Getenv("BERTH_TORTURE") != "" {
		return many
	}
	return few
}

// TestGate: a start that waits for another start ends with its context.
func TestGate(t *testing.T) {
	dir := t.TempDir()
	drain(t, open(t, dir, mem{newServer()}))
	gate := flock.New(filepath.Join(dir, "stores", "default", "gate"))
	if ok, err := gate.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	_, err := Open(ctx, Config{Dir: dir, Backend: func(string) (Backend, error) { return nil, nil }})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the gate is held: %v", err)
	}
	gate.Close()
	drain(t, open(t, dir, mem{newServer()}))
}

// TestExamine: whoever looks for damage changes nothing and is in nobody's way.
func TestExamine(t *testing.T) {
	dir := t.TempDir()
	if n, err := Examine(t.Context(), dir, "default"); n != 0 || err != nil {
		t.Errorf("before anything: %d, %v", n, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("it made %v", entries)
	}
	q := open(t, dir, mem{offline()})
	ids := fillQueue(t, q)
	if n, err := Examine(t.Context(), dir, "default"); n != 0 || err != nil {
		t.Errorf("while a controller has it: %d, %v", n, err)
	}
	drain(t, q)
	if n, err := Examine(t.Context(), dir, "default"); n != 1 || err != nil {
		t.Errorf("at rest: %d, %v", n, err)
	}
	finishAll(t, dir, ids)
	path := filepath.Join(storeDirs(t, dir)[0], dbName)
	if err := os.WriteFile(path, random(8192), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		n, err := Examine(t.Context(), dir, "default")
		if n != 1 || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("damaged: %d, %v", n, err)
		}
	}
}

// TestFailedSync: after an error of the disk the change is refused, nothing that
// was acknowledged is lost, and the file is written anew before the next change.
func TestFailedSync(t *testing.T) {
	dir, s := t.TempDir(), offline()
	eio := errors.New("input/output error")
	var fail atomic.Int64
	q := open(t, dir, mem{s}, func(c *Config) {
		c.fault = func() error {
			if fail.Add(-1) >= 0 {
				return eio
			}
			return nil
		}
	})
	ids := fillQueue(t, q)
	for _, id := range ids {
		if err := q.Pause(id); err != nil {
			t.Fatal(err)
		}
	}
	before := q.store.db
	fail.Store(2)
	for range 2 {
		if err := q.Resume(ids[0]); !errors.Is(err, eio) {
			t.Fatalf("resume on a failing disk: %v", err)
		}
	}
	if got := states(q)[ids[0]]; got != Paused {
		t.Errorf("after a refused resume the job is %s", got)
	}
	if err := q.Cancel(ids[1]); err != nil {
		t.Fatal(err)
	}
	if q.store.db == before {
		t.Error("the file was not written anew")
	}
	drain(t, q)
	q = open(t, dir, mem{s})
	if got := states(q); got[ids[0]] != Paused || got[ids[1]] != Canceled || len(got) != 2 {
		t.Errorf("after a restart: %v", got)
	}
}

// TestNoFilesStay: packages that were never committed and files of
// delivered jobs do not stay on the disk.
func TestNoFilesStay(t *testing.T) {
	dir, s := t.TempDir(), newServer()
	q := open(t, dir, mem{s})
	id := fillQueue(t, q)[1]
	awaitDone(t, q, id)
	p, _ := q.NewPackage("never", "d")
	it, err := p.AddReader(t.Context(), "x", bytes.NewReader(random(10)))
	if err != nil {
		t.Fatal(err)
	}
	drain(t, q)
	if _, err := p.Commit(t.Context()); !errors.Is(err, ErrDraining) {
		t.Errorf("commit after drain: %v", err)
	}
	q = open(t, dir, mem{s})
	if _, ok := q.Package(p.ID()); ok {
		t.Error("a package survived a restart")
	}
	for _, dir := range []string{q.store.spool(""), q.store.progress("")} {
		if left, _ := os.ReadDir(dir); len(left) > 1 || len(left) == 1 && left[0].Name() == it.ID {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}

// FuzzStore: whatever stands in the file, opening it ends, with its jobs or with
// ErrCorrupt. The input is a list of edits of a store of many pages: page,
// offset (2 bytes), value to xor.
func FuzzStore(f *testing.F) {
	path := filepath.Join(f.TempDir(), dbName)
	var jobs []stored
	for range 40 {
		jobs = append(jobs, aJob())
	}
	if err := writeStore(path, jobs); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{4, 0, 10, 1})
	f.Add([]byte{5, 0, 24, 2, 6, 0, 0, 255})
	f.Fuzz(func(t *testing.T, edits []byte) {
		b := bytes.Clone(good)
		for ; len(edits) >= 4; edits = edits[4:] {
			b[(int(edits[0])<<12|int(edits[1]&15)<<8|int(edits[2]))%len(b)] ^= edits[3]
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, dbName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		db, _, err := readStore(dir)
		if err == nil {
			db.Close()
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func aJob() stored {
	return stored{
		jobRecord{ID: newID(), Name: "a job", State: Queued, Items: 2, Created: time.Unix(1, 0).UTC()},
		[]itemRecord{
			{Object: Object{ID: newID(), Name: "a", Size: 1}, Phase: phaseOpen, Handle: "http://127.0.0.1/x"},
			{Object: Object{ID: newID(), Name: "b", Size: 2}, Path: "/a/b", Identity: "1-2"},
		},
	}
}

func FuzzRecords(f *testing.F) {
	st := aJob()
	job, _ := encodeRecord(st.job)
	item, _ := encodeRecord(st.items[0])
	f.Add(job[5:])
	f.Add(item[5:])
	f.Fuzz(func(t *testing.T, body []byte) { checkRecords(t, body) })
}

func checkRecords(t testing.TB, body []byte) {
	b := frame(body) // with the right checksum, so that the checks behind it are reached
	if rec, err := decodeItem(b); err == nil {
		if !validID(rec.Object.ID) || rec.Object.Size < 0 || filepath.Base(rec.Object.Name) != rec.Object.Name {
			t.Fatalf("accepted %+v", rec)
		}
	}
	var any jobRecord
	if decodeRecord(b, &any) == nil {
		if rec, err := decodeJob([]byte(any.ID), b); err == nil && (!validID(rec.ID) || rec.Items < 0 || rec.State.durable() != rec.State) {
			t.Fatalf("accepted %+v", rec)
		}
	}
	decodeJob(body, body)
}

func FuzzProgress(f *testing.F) {
	m := mark{offset: 5, tried: 7, resent: 1}
	b := make([]byte, progressLen)
	copy(b[slotSize:], encodeSlot(1, m))
	copy(b[2*slotSize:], encodeSlot(2, m))
	f.Add(b)
	f.Add(b[:300])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) { checkProgress(t, b) })
}

func checkProgress(t testing.TB, b []byte) {
	seq, marks := decodeProgress(b)
	if len(marks) > slotCount || uint64(len(marks)) > seq {
		t.Fatalf("%d marks of %d", len(marks), seq)
	}
	for _, m := range marks {
		if m.offset < 0 || m.tried < m.offset || m.resent < 0 {
			t.Fatalf("accepted %+v", m)
		}
		loadHash(m.state)
	}
}
