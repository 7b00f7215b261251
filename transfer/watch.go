package transfer

import (
	"context"
	"iter"
	"time"
)

// EventKind says what an [Event] is about.
type EventKind string

// The kinds of events.
const (
	JobChanged    EventKind = "job"      // Job is as it is now
	JobRemoved    EventKind = "removed"  // ID left the history
	WatchReady    EventKind = "ready"    // every job known at the start was told
	QueueDraining EventKind = "draining" // the queue is ending; the last event
)

// Event is something that happened to the queue.
type Event struct {
	Kind EventKind
	Job  Job    // of JobChanged
	ID   string // of JobChanged and JobRemoved
}

// tellEvery is how often watchers hear of progress alone; changes of state are
// told at once.
const tellEvery = 100 * time.Millisecond

// watcher remembers which jobs changed since it last looked, never how often: a
// slow one skips what is no longer true and costs the queue nothing.
type watcher struct {
	signal   chan struct{}
	order    []string        // changed jobs, oldest change first
	dirty    map[string]bool // what stands in order
	ready    bool            // everything known at the start has been told
	draining bool
}

// Watch answers the changes of all jobs: first every job as it is, then one
// WatchReady, then changes as they happen, until ctx or the queue ends. Each
// event holds the newest state; a slow watcher misses intermediate ones only.
func (q *Queue) Watch(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		w := q.subscribe()
		defer q.unsubscribe(w)
		for {
			e, ok := q.nextEvent(w)
			if ok {
				if !yield(e) || e.Kind == QueueDraining {
					return
				}
				continue
			}
			select {
			case <-w.signal:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (q *Queue) subscribe() *watcher {
	w := &watcher{signal: make(chan struct{}, 1), dirty: map[string]bool{}}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.order {
		w.mark(j.id)
	}
	w.draining = q.draining
	q.watchers[w] = struct{}{}
	return w
}

func (q *Queue) unsubscribe(w *watcher) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.watchers, w)
}

// nextEvent answers what w has not heard yet.
func (q *Queue) nextEvent(w *watcher) (Event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case len(w.order) > 0:
		id := w.order[0]
		w.order = w.order[1:]
		delete(w.dirty, id)
		if j, ok := q.jobs[id]; ok {
			return Event{Kind: JobChanged, ID: id, Job: q.snapshot(j)}, true
		}
		return Event{Kind: JobRemoved, ID: id}, true
	case !w.ready:
		w.ready = true
		return Event{Kind: WatchReady}, true
	case w.draining:
		return Event{Kind: QueueDraining}, true
	}
	return Event{}, false
}

// mark notes a change of a job; q.mu is held.
func (w *watcher) mark(id string) {
	if !w.dirty[id] {
		w.dirty[id] = true
		w.order = append(w.order, id)
	}
	w.wake()
}

func (w *watcher) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// tell marks a job for all watchers; q.mu is held.
func (q *Queue) tell(j *job) {
	j.told = time.Now()
	for w := range q.watchers {
		w.mark(j.id)
	}
}

// tellSoon tells of progress, at most every tellEvery but never leaving the
// newest untold; q.mu is held.
func (q *Queue) tellSoon(j *job, now time.Time) {
	if j.telling {
		return
	}
	j.telling = true
	time.AfterFunc(j.told.Add(tellEvery).Sub(now), func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		j.telling = false
		q.tell(j)
	})
}

func (q *Queue) tellDraining() {
	for w := range q.watchers {
		w.draining = true
		w.wake()
	}
}
