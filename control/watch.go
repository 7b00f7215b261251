package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"slices"
	"time"
)

// silence is how long a watch stream may show no sign of life.
const silence = 3 * heartbeat

// maxEvent bounds one line of the stream, in bytes.
const maxEvent = 64 << 20

// Watch tells what happens to jobs until ctx ends or the loop is left. It follows
// the controller through restarts: when the connection is lost it yields a "lost"
// event once and tries again until a controller answers, whose stream then opens
// with every job and "ready" like the first one. Jobs known before that the new
// controller doesn't know are told as "removed" before that "ready".
func (c *Client) Watch(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		w := watcher{client: c, yield: yield, known: map[string]bool{}}
		for try := 1; ctx.Err() == nil && !w.left; try++ {
			if w.once(ctx) {
				try = 0
			}
			if w.left || ctx.Err() != nil {
				return
			}
			w.lose()
			if sleep(ctx, max(try, 1), maxWatch) != nil {
				return
			}
		}
	}
}

// watcher is one loop over events, through any number of connections.
type watcher struct {
	client *Client
	yield  func(Event) bool
	failed *link
	known  map[string]bool // jobs that the caller has been told of
	fresh  map[string]bool // those of this connection; nil once it is ready
	lost   bool            // the caller knows that nobody answers
	left   bool            // the caller has left the loop
}

// once follows one connection to its end; ready tells whether it got as far as
// knowing every job.
func (w *watcher) once(ctx context.Context) (ready bool) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l, err := w.client.reach(ctx, w.failed)
	if err != nil {
		return false
	}
	w.failed = l
	req, err := l.request(ctx, "GET", path("watch"), nil)
	if err != nil {
		return false
	}
	res, err := l.transport.RoundTrip(req)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return false
	}
	w.fresh = map[string]bool{}
	alive := time.AfterFunc(silence, stop)
	defer alive.Stop()
	_ = scan(res.Body, func() { alive.Reset(silence) }, w.take)
	return w.fresh == nil
}

// take passes an event on; false ends the connection.
func (w *watcher) take(e Event) bool {
	switch {
	case e.Type == EventJob && e.Job != nil:
		w.known[e.Job.ID] = true
		if w.fresh != nil {
			w.fresh[e.Job.ID] = true
		}
	case e.Type == EventRemoved:
		delete(w.known, e.ID)
	case e.Type == EventReady:
		if !w.forget() {
			return false
		}
	}
	w.lost = false
	return w.pass(e)
}

// forget tells of the jobs that were known before and are no longer.
func (w *watcher) forget() bool {
	var gone []string
	for id := range w.known {
		if w.fresh != nil && !w.fresh[id] {
			gone = append(gone, id)
		}
	}
	w.fresh = nil
	slices.Sort(gone)
	for _, id := range gone {
		delete(w.known, id)
		if !w.pass(Event{Type: EventRemoved, ID: id}) {
			return false
		}
	}
	return true
}

func (w *watcher) lose() {
	if !w.lost {
		w.lost = true
		w.pass(Event{Type: EventLost})
	}
}

func (w *watcher) pass(e Event) bool {
	w.left = w.left || !w.yield(e)
	return !w.left
}

var errStream = errors.New("control: the watch stream is broken")

// scan reads server-sent events until the stream ends or take is false. Alive is
// called for every line. Only data fields mean anything here; a message may have
// several, which are joined by line feeds.
func scan(r io.Reader, alive func(), take func(Event) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	var data []byte
	has := false
	for lines.Scan() {
		alive()
		line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
		if len(line) == 0 {
			if !has {
				continue
			}
			var e Event
			if json.Unmarshal(data, &e) != nil {
				return errStream
			}
			data, has = data[:0], false
			if !take(e) {
				return nil
			}
			continue
		}
		value, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			continue
		}
		if has {
			data = append(data, '\n')
		}
		data, has = append(data, bytes.TrimPrefix(value, []byte(" "))...), true
		if len(data) > maxEvent {
			return errStream
		}
	}
	return lines.Err()
}
