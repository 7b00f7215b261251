package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"berth/control"
)

// record stands for the port record: where the present generation is.
type record struct {
	mu     sync.Mutex
	target control.Target
	looked int
}

func (r *record) set(t control.Target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = t
}

func (r *record) resolve(context.Context) (control.Target, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked++
	if r.target.Addr == "" {
		return control.Target{}, errors.New("nobody listens")
	}
	return r.target, nil
}

func TestClientFollowsGenerations(t *testing.T) {
	noLeaks(t)
	rec := &record{}
	c := &control.Client{Resolve: rec.resolve}
	t.Cleanup(c.Close)
	var e *control.Error
	if _, err := c.Status(t.Context()); !errors.As(err, &e) || e.Code != control.CodeUnavailable || e.Code.Exit() != 4 {
		t.Fatalf("with no controller: %v", err)
	}
	addr := ""
	for generation := range 5 {
		f := &fake{}
		r := start(t, f, addr, func(c *control.ServerConfig) { c.Key[31] = byte(generation) })
		rec.set(r.target)
		for range 3 {
			if _, err := c.Status(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.New(t.Context(), control.NewPackage{}); err != nil {
			t.Fatal(err)
		}
		if got := len(f.asked()); got != 4 {
			t.Fatalf("generation %d was asked %d times", generation, got)
		}
		addr = map[bool]string{true: r.target.Addr}[generation%2 == 0] // the same port, another port
		r.stop()
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.looked < 5 || rec.looked > 20 {
		t.Errorf("the record was looked up %d times", rec.looked)
	}
}

// TestNothingIsDoneTwice: a server that dies after it took a call leaves open
// whether it acted. What can be repeated is, what can't is not.
func TestNothingIsDoneTwice(t *testing.T) {
	for name, test := range map[string]struct {
		run    func(c *control.Client) error
		repeat bool
	}{
		"status": {func(c *control.Client) error { _, err := c.Status(t.Context()); return err }, true},
		"pause": {func(c *control.Client) error {
			_, err := c.Do(t.Context(), control.Pause, control.Select{All: true})
			return err
		}, true},
		"commit":   {func(c *control.Client) error { _, err := c.Commit(t.Context(), "p1"); return err }, true},
		"new":      {func(c *control.Client) error { _, err := c.New(t.Context(), control.NewPackage{}); return err }, false},
		"add file": {func(c *control.Client) error { _, err := c.AddFile(t.Context(), "p1", control.AddFile{}); return err }, false},
		"quit":     {func(c *control.Client) error { return c.Quit(t.Context()) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := &dying{fake: &fake{}}
			r := start(t, f, "")
			f.die = func() { panic(http.ErrAbortHandler) }
			err := test.run(client(t, r))
			if got := len(f.asked()); test.repeat != (got == 2) || got == 0 {
				t.Errorf("it was asked %d times", got)
			}
			if test.repeat != (err == nil) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// dying is a controller whose first call ends without an answer.
type dying struct {
	*fake
	once sync.Once
	die  func()
}

func (d *dying) end() { d.once.Do(d.die) }

func (d *dying) Status(ctx context.Context) (control.Status, error) {
	defer d.end()
	return d.fake.Status(ctx)
}
func (d *dying) Do(ctx context.Context, v control.Verb, s control.Select) ([]control.Outcome, error) {
	defer d.end()
	return d.fake.Do(ctx, v, s)
}
func (d *dying) Commit(ctx context.Context, id string) (control.Job, error) {
	defer d.end()
	return d.fake.Commit(ctx, id)
}
func (d *dying) New(ctx context.Context, n control.NewPackage) (control.Package, error) {
	defer d.end()
	return d.fake.New(ctx, n)
}
func (d *dying) AddFile(ctx context.Context, id string, a control.AddFile) (control.Item, error) {
	defer d.end()
	return d.fake.AddFile(ctx, id, a)
}
func (d *dying) Quit(ctx context.Context) error {
	defer d.end()
	return d.fake.Quit(ctx)
}

// TestKeyOfAnEarlierGeneration: refused at once by the server, looked up again
// by the client, even for what can't be repeated.
func TestKeyOfAnEarlierGeneration(t *testing.T) {
	f := &fake{}
	r := start(t, f, "")
	stale := r.target
	stale.Key[0]++
	asked := 0
	c := &control.Client{Resolve: func(context.Context) (control.Target, error) {
		if asked++; asked == 1 {
			return stale, nil
		}
		return r.target, nil
	}}
	t.Cleanup(c.Close)
	if _, err := c.New(t.Context(), control.NewPackage{}); err != nil || len(f.asked()) != 1 {
		t.Errorf("%v, asked %q", err, f.asked())
	}
	wrong := &control.Client{Resolve: func(context.Context) (control.Target, error) { return stale, nil }}
	t.Cleanup(wrong.Close)
	var e *control.Error
	if _, err := wrong.Status(t.Context()); !errors.As(err, &e) || e.Code != control.CodeRefused || e.Code.Exit() != 5 {
		t.Errorf("with a wrong key for good: %v", err)
	}
}

func TestWatchFollowsGenerations(t *testing.T) {
	noLeaks(t)
	rec := &record{}
	c := &control.Client{Resolve: rec.resolve}
	t.Cleanup(c.Close)
	first := &fake{jobs: []control.Job{{ID: "a"}, {ID: "b"}}, events: make(chan control.Event)}
	var got []string
	var now *running
	for e := range c.Watch(t.Context()) {
		switch id := e.ID; e.Type {
		case control.EventJob:
			got = append(got, "job "+e.Job.ID)
		default:
			got = append(got, e.Type+map[bool]string{true: " " + id}[id != ""])
		}
		switch len(got) {
		case 1: // lost: nobody there yet
			now = start(t, first, "")
			rec.set(now.target)
		case 4: // one at a time: what waits together may become one event
			first.events <- control.Event{Type: control.EventJob, Job: &control.Job{ID: "c"}}
		case 5:
			first.events <- control.Event{Type: control.EventRemoved, ID: "a"}
		case 6: // the second generation knows b and a new one, no longer c
			addr := now.target.Addr
			now.stop()
			now = start(t, &fake{jobs: []control.Job{{ID: "b"}, {ID: "d"}}}, addr, func(c *control.ServerConfig) { c.Key[30] = 1 })
			rec.set(now.target)
		}
		if len(got) == 11 {
			break
		}
	}
	want := []string{"lost", "job a", "job b", "ready", "job c", "removed a", "lost", "job b", "job d", "removed c", "ready"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestWatchEndsWithItsContext, whatever it is doing.
func TestWatchEndsWithItsContext(t *testing.T) {
	noLeaks(t)
	for _, there := range []bool{true, false} {
		rec := &record{}
		if there {
			rec.set(start(t, &fake{}, "").target)
		}
		c := &control.Client{Resolve: rec.resolve}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range c.Watch(ctx) {
			cancel()
		}
		c.Close()
	}
}

// TestShutdownEndsStreamsAndFinishesCalls: a watcher is sent away, a commit that
// is being made durable is not.
func TestShutdownEndsStreamsAndFinishesCalls(t *testing.T) {
	noLeaks(t)
	f := &fake{block: make(chan struct{}), entered: make(chan struct{}, 1)}
	r := start(t, f, "")
	c := client(t, r)
	committed := make(chan error, 1)
	go func() { _, err := c.Commit(t.Context(), "p1"); committed <- err }()
	<-f.entered
	for e := range c.Watch(t.Context()) {
		if e.Type == control.EventReady {
			go r.stop()
		}
		if e.Type == control.EventLost {
			break
		}
	}
	close(f.block) // the server is ending: the stream's end has said so
	if err := <-committed; err != nil {
		t.Errorf("the commit did not finish: %v", err)
	}
	r.stop()
}

// TestSlowReaderCostsLittle: the controller is never held up by a watcher that
// does not read, and what it reads at last is the newest.
func TestSlowReaderCostsLittle(t *testing.T) {
	noLeaks(t)
	f := &fake{events: make(chan control.Event)}
	c := client(t, start(t, f, ""))
	const changes = 20000
	last := int64(0)
	for e := range c.Watch(t.Context()) {
		if e.Type == control.EventReady {
			for i := range int64(changes) { // each send returns although nobody reads
				f.events <- control.Event{Type: control.EventJob, Job: &control.Job{ID: "j", BytesDone: i + 1, Name: string(bytes.Repeat([]byte("x"), 1000))}}
			}
		}
		if e.Job != nil {
			if e.Job.BytesDone < last {
				t.Fatalf("%d after %d", e.Job.BytesDone, last)
			}
			if last = e.Job.BytesDone; last == changes {
				break
			}
		}
	}
}

// TestCallsMayRunLong: no deadline of the port cuts a call short once it has
// arrived whole.
func TestCallsMayRunLong(t *testing.T) {
	t.Parallel()
	f := &fake{block: make(chan struct{})}
	c := client(t, start(t, f, ""))
	time.AfterFunc(control.ReadRequest+time.Second, func() { close(f.block) })
	if _, err := c.Commit(t.Context(), "p1"); err != nil {
		t.Error(err)
	}
}

// TestCollect goes a companion's whole way, bytes from memory included.
func TestCollect(t *testing.T) {
	f := &fake{}
	c := client(t, start(t, f, ""))
	b, err := c.Collect(t.Context(), control.NewPackage{Name: "mail"}, carrier{})
	if err != nil {
		t.Fatal(err)
	}
	it, err := b.AddReader(t.Context(), "ü.txt", bytes.NewReader([]byte("hello")))
	if err != nil || it.Name != "ü.txt" || it.Size != 5 {
		t.Errorf("%+v, %v", it, err)
	}
	var e *control.Error
	if _, err = b.AddReader(t.Context(), "full", bytes.NewReader(nil)); !errors.As(err, &e) || e.Code != control.CodeNoMemory {
		t.Errorf("got %v", err)
	}
	if _, err = b.AddReader(t.Context(), "broken", bytes.NewReader(nil)); !errors.As(err, &e) || e.Code != control.CodeFailed || !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	if _, err = b.AddReader(t.Context(), "torn", iotest.ErrReader(errTorn)); !errors.Is(err, errTorn) || !strings.Contains(err.Error(), "bytes of torn cannot be read") {
		t.Errorf("got %v", err)
	}
	without, err := c.Collect(t.Context(), control.NewPackage{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = without.AddReader(t.Context(), "x", bytes.NewReader(nil)); !errors.As(err, &e) || e.Code != control.CodeUsage {
		t.Errorf("got %v", err)
	}
}

var errTorn = errors.New("the disk is broken")

var errBroken = errors.New("the engine is gone")

// carrier is an engine and the controller's end of it.
type carrier struct{}

func (carrier) Carry(_ context.Context, service string, header []byte, body io.Reader) ([]byte, error) {
	h, err := control.DecodeItemHeader(header)
	if err != nil || service != control.PackageService || h.Package != "p1" {
		return nil, fmt.Errorf("service %q, header %s: %w", service, header, err)
	}
	if h.Name == "broken" {
		return nil, errBroken
	}
	if h.Name == "full" {
		return control.EncodeItemReply(control.Item{}, &control.Error{Code: control.CodeNoMemory, Message: "the disk is full"}), nil
	}
	var buf bytes.Buffer
	n, err := buf.ReadFrom(body)
	if err != nil {
		return nil, err
	}
	return control.EncodeItemReply(control.Item{ID: "i9", Name: h.Name, Size: n}, err), nil
}
