package tray

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/control"
)

// fakeService is a controller with jobs that obey, which notes what it is told.
type fakeService struct {
	mu     sync.Mutex
	jobs   []control.Job
	watch  chan control.Event
	orders []string
	told   func(order string) // called for each order, with mu held
}

func newFakeService(jobs ...control.Job) *fakeService {
	return &fakeService{jobs: jobs, watch: make(chan control.Event, 64)}
}

func (s *fakeService) List(context.Context, control.Filter) ([]control.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.jobs), nil
}

// Watch ends when the channel of events is closed, as with a controller.
func (s *fakeService) Watch(ctx context.Context) iter.Seq[control.Event] {
	return func(yield func(control.Event) bool) {
		s.mu.Lock()
		start, events := slices.Clone(s.jobs), s.watch
		s.mu.Unlock()
		for _, j := range start {
			if !yield(control.Event{Type: "job", Job: &j}) {
				return
			}
		}
		if !yield(control.Event{Type: "ready"}) {
			return
		}
		for {
			select {
			case e, open := <-events:
				if !open || !yield(e) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (s *fakeService) note(order string) {
	s.orders = append(s.orders, order)
	if s.told != nil {
		s.told(order)
	}
}

func (s *fakeService) Do(_ context.Context, v control.Verb, sel control.Select) ([]control.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	order := string(v)
	for _, id := range sel.IDs {
		order += " " + id
	}
	if sel.All {
		order += " all"
	}
	s.note(order)
	to := map[control.Verb]string{control.Pause: "paused", control.Resume: "queued", control.Cancel: "canceled", control.Retry: "queued"}[v]
	var out []control.Outcome
	for i := range s.jobs {
		j := &s.jobs[i]
		if sel.All && !ended(*j) || slices.Contains(sel.IDs, j.ID) {
			j.State = to
			s.watch <- event(*j)
			out = append(out, control.Outcome{ID: j.ID, State: to})
		}
	}
	return out, nil
}

func (s *fakeService) Quit(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("quit")
	return nil
}

// put adds or changes a job.
func (s *fakeService) put(j control.Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.jobs, func(k control.Job) bool { return k.ID == j.ID })
	if i < 0 {
		s.jobs = append(s.jobs, j)
	} else {
		s.jobs[i] = j
	}
	s.watch <- event(j)
}

// restart ends the present watch streams, as a controller that goes away.
func (s *fakeService) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.watch)
	s.watch = make(chan control.Event, 64)
}

func (s *fakeService) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.orders
	s.orders = nil
	return out
}

// withLoop runs the tray on a fake desktop, in fake time.
func withLoop(t *testing.T, jobs []control.Job, f func(s *fakeService, kit *fakeKit, click func(string), tr *tray)) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeService(jobs...)
		ctx, cancel := context.WithCancel(t.Context())
		tr := &tray{
			cfg:  Config{Service: s, Log: slog.New(slog.NewTextHandler(io.Discard, nil))},
			pace: pace{slow: 5 * time.Second, quick: 200 * time.Millisecond, after: 5 * time.Second, busy: 200 * time.Millisecond},
			done: ctx.Done(), cancel: cancel,
			presses: make(chan press, 16), commands: make(chan command, 16),
			updates: make(chan update), shows: make(chan bool),
		}
		kit := &fakeKit{}
		tr.build(ctx, kit)
		tr.show(true)
		synctest.Wait()
		f(s, kit, func(title string) {
			t.Helper()
			i := slices.IndexFunc(kit.items, func(i *fakeItem) bool { return i.title == title && !i.off })
			if i < 0 {
				t.Fatalf("nothing to click on called %q in %q", title, kit.visible())
			}
			kit.items[i].clicks <- struct{}{}
			synctest.Wait()
		}, tr)
		cancel()
		tr.tasks.Wait()
	})
}

func has(kit *fakeKit, title string) bool { return slices.Contains(kit.visible(), title) }

func TestLoopPacesLabels(t *testing.T) {
	withLoop(t, jobs(1, 1, "uploading"), func(s *fakeService, kit *fakeKit, click func(string), _ *tray) {
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !has(kit, "file1  —  uploading, 50 %") {
			t.Fatalf("first: %q", kit.visible())
		}
		s.put(job(1, "failed")) // shows at once: an icon is no label
		synctest.Wait()
		if got := kit.take(); !slices.Contains(got, "icon 4") {
			t.Errorf("the icon waits: %q", got)
		}
		s.put(job(1, "uploading"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		kit.take()
		changes := 0
		for n := range 100 { // ten seconds of quick progress
			j := job(1, "uploading")
			j.BytesTotal, j.BytesDone = 1000, int64(500+4*n)
			s.put(j)
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if len(kit.take()) > 0 {
				changes++
			}
		}
		if changes < 1 || changes > 3 {
			t.Errorf("the menu changed %d times in 10 s", changes)
		}
		for n := range 100 { // up to the moment of a change, when the next one is far
			j := job(1, "uploading")
			j.BytesTotal, j.BytesDone = 1000, int64(900-4*n)
			s.put(j)
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if len(kit.take()) > 0 {
				break
			}
		}
		click("Pause")
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		if !has(kit, "-1 paused") {
			t.Errorf("a click shows no effect: %q", kit.visible())
		}
		if got := s.take(); !slices.Equal(got, []string{"pause j1"}) {
			t.Errorf("orders %q", got)
		}
	})
}

// TestOpenMenuIsLeftAlone: where the system cannot bear changes of an open
// menu, they wait until it is closed.
func TestOpenMenuIsLeftAlone(t *testing.T) {
	withLoop(t, jobs(1, 1, "uploading"), func(s *fakeService, kit *fakeKit, _ func(string), _ *tray) {
		time.Sleep(6 * time.Second)
		synctest.Wait()
		kit.open.Store(true)
		kit.take()
		s.put(job(1, "paused"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := kit.take(); !slices.Equal(got, []string{"icon 3"}) {
			t.Errorf("an open menu was changed: %q", got)
		}
		kit.open.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if !has(kit, "file1  —  paused at 50 %") {
			t.Errorf("after it was closed: %q", kit.visible())
		}
	})
}

func TestLoopFollowsRestarts(t *testing.T) {
	two := []control.Job{job(1, "uploading"), job(2, "paused")}
	withLoop(t, two, func(s *fakeService, kit *fakeKit, click func(string), tr *tray) {
		time.Sleep(6 * time.Second)
		s.mu.Lock()
		s.jobs = s.jobs[1:] // the next controller no longer knows the first job
		s.mu.Unlock()
		s.restart()
		synctest.Wait()
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if has(kit, "file1  —  uploading, 50 %") || !has(kit, "file2  —  paused at 50 %") || !has(kit, "Resume all") {
			t.Errorf("after the restart: %q", kit.visible())
		}
		click("Resume all")
		if got := s.take(); !slices.Equal(got, []string{"resume all"}) {
			t.Errorf("orders %q", got)
		}
		tr.show(false)
		kit.take()
		s.put(job(3, "uploading"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := kit.take(); len(got) > 0 {
			t.Errorf("with no desktop there, and yet %q", got)
		}
		tr.show(true)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !has(kit, "file3  —  uploading, 50 %") {
			t.Errorf("back on the desktop: %q", kit.visible())
		}
	})
}

// TestPanicEndsOnlyTheTray: what goes wrong in here must not take the
// controller's process along.
func TestPanicEndsOnlyTheTray(t *testing.T) {
	withLoop(t, nil, func(s *fakeService, _ *fakeKit, click func(string), tr *tray) {
		time.Sleep(6 * time.Second)
		synctest.Wait()
		s.mu.Lock()
		s.told = func(string) { panic("a mistake") }
		s.mu.Unlock()
		click("Quit")
		select {
		case <-tr.done:
		default:
			t.Error("the tray goes on without a part of it")
		}
	})
}
