package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newPackage(t testing.TB, q *Queue) *Package {
	t.Helper()
	p, err := q.NewPackage("p", "d")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBadFiles(t *testing.T) {
	q := open(t, t.TempDir(), mem{newServer()})
	p := newPackage(t, q)
	missing := filepath.Join(t.TempDir(), "missing")
	for path, want := range map[string]string{
		missing:                               missing + " does not exist. Check the path",
		t.TempDir():                           "is a directory. Add the files in it",
		"":                                    "is a directory",
		os.DevNull:                            "is not a regular file",
		missing + strings.Repeat("x", 10<<20): map[bool]string{true: "does not exist", false: "cannot be read"}[runtime.GOOS == "windows"],
	} {
		_, err := p.AddFile(t.Context(), path, "")
		if !errors.Is(err, ErrSource) || !strings.Contains(err.Error(), want) {
			t.Errorf("AddFile(%.40q): %.200v", path, err)
		}
		if err != nil && len(err.Error()) > 8192 {
			t.Errorf("AddFile(%.40q): a message of %d bytes", path, len(err.Error()))
		}
	}
	if _, err := p.Commit(t.Context()); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty Commit: %v", err)
	}
}

func TestRemoveAndDiscard(t *testing.T) {
	q := open(t, t.TempDir(), mem{offline()})
	p := newPackage(t, q)
	var ids []string
	for range 3 {
		it, err := p.AddReader(t.Context(), "x", bytes.NewReader(random(10)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, it.ID)
	}
	if err := p.Remove(ids[1]); err != nil {
		t.Fatal(err)
	}
	if err := p.Remove(ids[1]); !errors.Is(err, ErrNotFound) {
		t.Errorf("second Remove: %v", err)
	}
	if items := p.Items(); len(items) != 2 || items[0].ID != ids[0] || items[1].ID != ids[2] {
		t.Errorf("items are %v", items)
	}
	if _, err := os.Stat(q.store.spool(ids[1])); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("spool of a removed item: %v", err)
	}
	if err := errors.Join(p.Discard(), p.Discard()); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(q.store.spool("")); len(left) != 0 {
		t.Errorf("left in the spool: %v", left)
	}
	if _, err := p.AddReader(t.Context(), "x", bytes.NewReader(nil)); !errors.Is(err, ErrNotFound) {
		t.Errorf("AddReader after Discard: %v", err)
	}
	if _, err := p.Commit(t.Context()); !errors.Is(err, ErrNotFound) {
		t.Errorf("Commit after Discard: %v", err)
	}
}

func TestCommitted(t *testing.T) {
	q := open(t, t.TempDir(), mem{offline()})
	p := newPackage(t, q)
	it, err := p.AddReader(t.Context(), "x", bytes.NewReader(random(10)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, add := p.AddReader(t.Context(), "x", bytes.NewReader(nil))
	for _, err := range []error{add, p.Remove(it.ID), p.Discard()} {
		if !errors.Is(err, ErrState) {
			t.Errorf("after Commit: %v", err)
		}
	}
	if _, ok := q.Package(p.ID()); ok {
		t.Error("a committed package is still being collected")
	}
	if j, ok := q.Job(p.ID()); !ok || j.Name != "p" {
		t.Errorf("job is %+v", j)
	}
}

// TestReadersThatFail: nothing of a stream that did not end is kept.
func TestReadersThatFail(t *testing.T) {
	q := open(t, t.TempDir(), mem{newServer()})
	p := newPackage(t, q)
	reason := errors.New("the companion died")
	for name, end := range map[string]func(stop func()) io.Reader{
		"failed":       func(func()) io.Reader { return failing{reason} },
		"was cut":      func(func()) io.Reader { return failing{io.ErrUnexpectedEOF} },
		"was canceled": func(stop func()) io.Reader { return io.MultiReader(canceling{stop}, zeros{}) },
	} {
		ctx, stop := context.WithCancel(t.Context())
		_, err := p.AddReader(ctx, name, io.MultiReader(bytes.NewReader(random(3<<20)), end(stop)))
		stop()
		if err == nil {
			t.Errorf("a stream that %s was accepted", name)
		}
		if left, _ := os.ReadDir(q.store.spool("")); len(left) != 0 || len(p.Items()) != 0 {
			t.Errorf("a stream that %s left %v, %v", name, left, p.Items())
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type canceling struct{ stop func() }

func (c canceling) Read([]byte) (int, error) { c.stop(); return 0, io.EOF }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestReadOnce: the bytes that are hashed are the bytes that are kept, although
// what they are read from changes all the time.
func TestReadOnce(t *testing.T) {
	s := newServer()
	q := open(t, t.TempDir(), hashing{mem{s}})
	p := newPackage(t, q)
	src := &counting{left: 5<<20 + 3}
	if _, err := p.AddReader(t.Context(), "x", src); err != nil {
		t.Fatal(err)
	}
	j, err := p.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, s, awaitDone(t, q, j.ID).Items[0], src.given)
}

// counting yields every byte once, in reads of odd sizes.
type counting struct {
	left  int
	given []byte
}

func (c *counting) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), c.left, 77_777)
	copy(b, random(n))
	c.given = append(c.given, b[:n]...)
	c.left -= n
	return n, nil
}

// TestCommitWhileAdding: a package is whole or not there.
func TestCommitWhileAdding(t *testing.T) {
	q := open(t, t.TempDir(), mem{offline()})
	p := newPackage(t, q)
	r, w := io.Pipe()
	added := make(chan error)
	go func() {
		_, err := p.AddReader(t.Context(), "slow", r)
		added <- err
	}()
	if _, err := w.Write(random(10)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Commit(t.Context()); !errors.Is(err, ErrState) {
		t.Errorf("Commit while an item arrives: %v", err)
	}
	if err := p.Discard(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := <-added; err == nil {
		t.Error("an item was added to a discarded package")
	}
	if left, _ := os.ReadDir(q.store.spool("")); len(left) != 0 {
		t.Errorf("left in the spool: %v", left)
	}
}

func TestIdlePackage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t, t.TempDir(), mem{offline()})
		p := newPackage(t, q)
		time.Sleep(23 * time.Hour)
		if _, err := p.AddReader(t.Context(), "x", bytes.NewReader(random(10))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(23 * time.Hour)
		if _, ok := q.Package(p.ID()); !ok {
			t.Fatal("a package in use was discarded")
		}
		time.Sleep(2 * time.Hour)
		if _, ok := q.Package(p.ID()); ok {
			t.Error("an idle package is still there")
		}
		if left, _ := os.ReadDir(q.store.spool("")); len(left) != 0 {
			t.Errorf("left in the spool: %v", left)
		}
	})
}

func TestUnknownDestination(t *testing.T) {
	q := open(t, t.TempDir(), nil, func(c *Config) {
		c.Backend = func(d string) (Backend, error) {
			return nil, advise(ErrPermanent, nil, "there is no such destination. Look at the list.")
		}
	})
	if _, err := q.NewPackage("x", "nowhere"); !errors.Is(err, ErrPermanent) || !strings.Contains(err.Error(), "nowhere") {
		t.Error(err)
	}
}

// TestHistory: the oldest jobs that are over are forgotten, failed ones never.
func TestHistory(t *testing.T) {
	s := newServer()
	dir := t.TempDir()
	q := open(t, dir, mem{s}, func(c *Config) { c.History = 2 })
	s.onBegin = func(Object) error { return ErrPermanent }
	failed := submit(t, q, random(1))
	await(t, q, failed.ID, in(Failed))
	s.set(func(s *server) { s.onBegin = nil })
	var ids []string
	for range 5 {
		ids = append(ids, submit(t, q, random(1)).ID)
		awaitDone(t, q, ids[len(ids)-1])
	}
	for e := range q.Watch(t.Context()) {
		if n := len(q.Jobs()); n == 3 && e.Kind != JobRemoved {
			break
		}
	}
	got := states(q)
	if got[failed.ID] != Failed || got[ids[3]] != Done || got[ids[4]] != Done {
		t.Errorf("kept %v of %v", got, ids)
	}
	if err := q.Retry(ids[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("retry of a forgotten job: %v", err)
	}
	drain(t, q)
	if q = open(t, dir, mem{s}); len(q.Jobs()) != 3 {
		t.Errorf("after a restart: %v", states(q))
	}
}

// TestWatch: a watcher that does not look costs the queue nothing, and hears the
// newest state when it does.
func TestWatch(t *testing.T) {
	s := newServer()
	q := open(t, t.TempDir(), mem{s})
	first := submit(t, q, random(1))
	var kinds []EventKind
	seen := map[string]State{}
	var second Job
	for e := range q.Watch(t.Context()) {
		kinds = append(kinds, e.Kind)
		if e.Kind == JobChanged {
			seen[e.ID] = e.Job.State
		}
		if e.Kind == WatchReady {
			second = submit(t, q, random(4<<20))
			awaitDone(t, q, second.ID) // while this watcher is not listening
			awaitDone(t, q, first.ID)
		}
		if seen[first.ID] == Done && seen[second.ID] == Done {
			break
		}
	}
	if kinds[0] != JobChanged || len(kinds) > 5 {
		t.Errorf("heard %v", kinds)
	}
	ended := make(chan []EventKind)
	go func() {
		var kinds []EventKind
		for e := range q.Watch(context.Background()) {
			kinds = append(kinds, e.Kind)
		}
		ended <- kinds
	}()
	drain(t, q)
	if got := <-ended; got[len(got)-1] != QueueDraining {
		t.Errorf("the last event was %v", got)
	}
	if err := q.Pause(first.ID); !errors.Is(err, ErrDraining) {
		t.Errorf("pause while draining: %v", err)
	}
}

// stuck is a backend that keeps none of its promises about contexts.
type stuck struct {
	mem
	hold chan struct{}
}

func (b stuck) Begin(context.Context, Object) (Handle, error) {
	<-b.hold
	return "", errors.New("late")
}

// TestDrainIsBounded: a backend that hangs keeps nobody from leaving.
func TestDrainIsBounded(t *testing.T) {
	b := stuck{mem{newServer()}, make(chan struct{})}
	dir := t.TempDir()
	q := open(t, dir, b)
	j := submit(t, q, random(1))
	await(t, q, j.ID, in(Uploading))
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := q.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	s := newServer()
	q = open(t, dir, mem{s}) // the store is free although the backend still hangs
	awaitDone(t, q, j.ID)
	close(b.hold)
}

func TestLinks(t *testing.T) {
	s := offline()
	q := open(t, t.TempDir(), mem{s})
	j := submit(t, q, random(10))
	want := "mem://server/" + j.Items[0].ID
	if links, err := q.Links(j.ID); err != nil || len(links) != 1 || links[0] != want || j.Items[0].Link != want {
		t.Errorf("links before the first byte: %v, %v", links, err)
	}
	if _, err := q.Links("nope"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestMeter(t *testing.T) {
	var m meter
	now := time.Unix(0, 0)
	m.add(0, now)
	for range 100 {
		now = now.Add(100 * time.Millisecond)
		m.add(100_000, now)
	}
	if got := m.at(now); got < 990_000 || got > 1_010_000 {
		t.Errorf("steady rate is %.0f", got)
	}
	if got := m.at(now.Add(2 * time.Second)); got < 400_000 || got > 600_000 {
		t.Errorf("two seconds after the last byte the rate is %.0f", got)
	}
	if got := m.at(now.Add(time.Minute)); got > 5000 {
		t.Errorf("a minute after the last byte the rate is %.0f", got)
	}
}
