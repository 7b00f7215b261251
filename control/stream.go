package control

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// mailbox holds the events that a reader has not taken yet. At most one for each
// job: a newer one takes the place of an older one, so a slow reader costs
// bounded memory and never slows the controller.
type mailbox struct {
	wake chan struct{} // capacity 1

	mu     sync.Mutex
	order  []string          // keys, oldest first
	events map[string]*Event // by key
	ended  bool
}

func newMailbox() *mailbox {
	return &mailbox{wake: make(chan struct{}, 1), events: map[string]*Event{}}
}

// key is what an event may replace: an earlier one about the same job, or an
// earlier one of the same type. A job's ID can't start with a space.
func (e Event) key() string {
	switch {
	case e.Job != nil:
		return e.Job.ID
	case e.Type == EventRemoved:
		return e.ID
	}
	return " " + e.Type
}

func (m *mailbox) put(e Event) {
	m.mu.Lock()
	k := e.key()
	if _, waiting := m.events[k]; !waiting {
		m.order = append(m.order, k)
	}
	m.events[k] = &e
	m.mu.Unlock()
	m.ring()
}

func (m *mailbox) end() {
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.ring()
}

func (m *mailbox) ring() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take empties the mailbox.
func (m *mailbox) take() (events []*Event, ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.order {
		events = append(events, m.events[k])
	}
	m.order = m.order[:0]
	clear(m.events)
	return events, m.ended
}

// watch streams the service's events as server-sent events until the reader
// goes, stops reading, or the controller ends.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) error {
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	defer context.AfterFunc(s.ending, stop)()
	c := http.NewResponseController(w)
	box := newMailbox()
	var pump sync.WaitGroup
	defer pump.Wait()
	defer stop()
	pump.Go(func() {
		defer box.end()
		for e := range s.config.Service.Watch(ctx) {
			box.put(e)
		}
	})
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	send(ctx, w, c, box)
	return nil
}

func send(ctx context.Context, w http.ResponseWriter, c *http.ResponseController, box *mailbox) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for ended := false; !ended; {
		var events []*Event
		if events, ended = box.take(); !write(w, c, events) {
			return
		}
		if ended {
			return
		}
		select {
		case <-box.wake:
		case <-tick.C:
			patient(w)
			if _, err := w.Write([]byte(":\n\n")); err != nil || c.Flush() != nil {
				return
			}
		case <-ctx.Done():
			if events, _ := box.take(); len(events) > 0 {
				write(w, c, events)
			}
			return
		}
	}
}

func write(w http.ResponseWriter, c *http.ResponseController, events []*Event) bool {
	patient(w)
	for _, e := range events {
		data, err := json.Marshal(e)
		if err != nil {
			return false
		}
		if _, err = w.Write(append(append([]byte("data: "), data...), "\n\n"...)); err != nil {
			return false
		}
		patient(w)
	}
	return c.Flush() == nil
}
