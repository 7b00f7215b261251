package control_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/control"
)

// fake is a controller that remembers what it was asked to do.
type fake struct {
	mu      sync.Mutex
	calls   []string
	jobs    []control.Job
	err     error              // what every call fails with
	events  chan control.Event // what Watch tells after "ready"
	block   chan struct{}      // Commit waits for it, when set
	entered chan struct{}      // told when Commit waits
}

func (f *fake) note(format string, a ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, a...))
	return f.err
}

func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

func (f *fake) Status(context.Context) (control.Status, error) {
	return control.Status{PID: 7, Session: "uid 1000", Jobs: map[string]int{"done": 1}}, f.note("status")
}
func (f *fake) List(_ context.Context, filter control.Filter) ([]control.Job, error) {
	err := f.note("list")
	if !reflect.DeepEqual(filter, control.Filter{}) {
		err = f.note("of %v", filter)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.jobs, err
}
func (f *fake) Do(_ context.Context, v control.Verb, s control.Select) ([]control.Outcome, error) {
	err := f.note("do %s %v %v", v, s.IDs, s.All)
	var out []control.Outcome
	for _, id := range s.IDs {
		out = append(out, control.Outcome{ID: id, State: string(v)})
	}
	return out, err
}
func (f *fake) Watch(ctx context.Context) iter.Seq[control.Event] {
	return func(yield func(control.Event) bool) {
		_ = f.note("watch")
		f.mu.Lock()
		jobs := f.jobs
		f.mu.Unlock()
		for _, j := range jobs {
			if !yield(control.Event{Type: control.EventJob, Job: &j}) {
				return
			}
		}
		if !yield(control.Event{Type: control.EventReady}) {
			return
		}
		for {
			select {
			case <-ctx.Done():
				return
			case e, ok := <-f.events:
				if !ok || !yield(e) {
					return
				}
			}
		}
	}
}
func (f *fake) New(_ context.Context, n control.NewPackage) (control.Package, error) {
	return control.Package{ID: "p1", Name: n.Name, Destination: n.Destination, Items: []control.Item{}}, f.note("new %s %s", n.Name, n.Destination)
}
func (f *fake) AddFile(_ context.Context, id string, a control.AddFile) (control.Item, error) {
	return control.Item{ID: "i1", Name: a.Name, Path: a.Path}, f.note("addfile %s %s", id, a.Name)
}
func (f *fake) RemoveItem(_ context.Context, id, item string) error {
	return f.note("remove %s %s", id, item)
}
func (f *fake) Package(_ context.Context, id string) (control.Package, error) {
	return control.Package{ID: id, Items: []control.Item{{ID: "i1"}}}, f.note("package %s", id)
}
func (f *fake) Commit(ctx context.Context, id string) (control.Job, error) {
	if f.block != nil {
		select {
		case f.entered <- struct{}{}:
		default:
		}
		select {
		case <-f.block:
		case <-ctx.Done():
			return control.Job{}, ctx.Err()
		}
	}
	return control.Job{ID: id, State: "queued"}, f.note("commit %s", id)
}
func (f *fake) Discard(_ context.Context, id string) error { return f.note("discard %s", id) }
func (f *fake) Destinations(context.Context) ([]control.Destination, error) {
	return []control.Destination{{Name: "local", Default: true}}, f.note("destinations")
}
func (f *fake) TestDestination(_ context.Context, name string) error { return f.note("test %s", name) }
func (f *fake) Quit(context.Context) error                           { return f.note("quit") }

// running is a server on a port of its own.
type running struct {
	*control.Server
	target control.Target
	stop   func()
}

// start serves f until the test ends or stop is called. Addr may be "" for any port.
func start(t testing.TB, f control.Service, addr string, more ...func(*control.ServerConfig)) *running {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	cert, sum, err := control.NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	c := control.ServerConfig{Service: f, Cert: cert, Monitor: page(), Key: [32]byte{1, 2, 3, byte(len(t.Name()))}}
	for _, m := range more {
		m(&c)
	}
	s := control.NewServer(c)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	stop := sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Errorf("the server did not end well: %v", err)
		}
	})
	t.Cleanup(stop)
	if res, err := http.Get("http://" + l.Addr().String() + "/v1/"); err != nil { // waits until it serves
		t.Fatal(err)
	} else {
		_ = res.Body.Close()
	}
	return &running{s, control.Target{Addr: l.Addr().String(), CertSHA256: sum, Key: c.Key}, stop}
}

func page() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("page"))
	})
}

// client follows whatever *target is.
func client(t testing.TB, r *running) *control.Client {
	c := &control.Client{Resolve: func(context.Context) (control.Target, error) { return r.target, nil }}
	t.Cleanup(c.Close)
	return c
}

// noLeaks fails the test when goroutines of this package outlive it. Call it
// first, so that it looks last.
func noLeaks(t testing.TB) {
	t.Cleanup(func() {
		var left string
		for range 200 {
			if left = ours(); left == "" {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("goroutines are left:\n%s", left)
	})
}

func ours() (left string) {
	buf := make([]byte, 1<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:] {
		if strings.Contains(g, "berth/control") && !strings.Contains(g, "testing.(*T).Run") {
			left += g + "\n\n"
		}
	}
	return left
}
