package ipc

import (
	"context"
	"iter"
	"sync"

	"berth/internal/shm"
)

// roster is the directory as a companion sees it, with those of this process who
// watch it.
//
// Nothing sleeps on the shared word: a companion that watches says so, with the
// number of changes that it has seen, and the engine rings its doorbell as soon as
// there are more. Every frame makes the companion look at the word, so a doorbell
// that had no room in a full stream is not missed.
type roster struct {
	seg  *shm.Segment
	ask  func(seen uint32) // has the engine ring when changes is another
	lost func(error)       // ends the client: the directory has vanished

	mu      sync.Mutex
	over    bool
	seen    uint32        // changes, when the watchers were last told
	asked   bool          // the engine will ring, or has rung
	changed chan struct{} // closed and replaced when there is news
}

func newRoster(seg *shm.Segment, ask func(seen uint32)) *roster {
	return &roster{seg: seg, ask: ask, changed: make(chan struct{})}
}

// entries lists who is registered: nobody any more when the engine is ending. It is
// false once the client is done.
func (r *roster) entries() (all []Entry, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil, false
	}
	err := r.guard(func() { all = readDirectory(r.seg.Bytes()) })
	return all, err == nil
}

// guard runs f, which looks at the directory. The caller holds mu.
func (r *roster) guard(f func()) error {
	err := guarded(r.seg.Bytes(), "the engine's directory", func() error {
		f()
		return nil
	})
	if err != nil {
		go r.lost(err)
	}
	return err
}

// expect answers a channel that is closed at the next change. What is read after it
// was called is at least as new as what was told.
func (r *roster) expect() <-chan struct{} {
	r.mu.Lock()
	r.look()
	ask, seen, changed := !r.asked && !r.over, r.seen, r.changed
	r.asked = true
	r.mu.Unlock()
	if ask {
		r.ask(seen)
	}
	return changed
}

// heard is called after every frame of the engine.
func (r *roster) heard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look()
}

// look tells the watchers when there is news. The engine's promise to ring was for
// the number that they had seen, and is used up. The caller holds mu.
func (r *roster) look() {
	if r.over {
		return
	}
	n := r.seen
	_ = r.guard(func() { n = wordAt(r.seg.Bytes(), dirChanges).Load() })
	if n != r.seen {
		r.seen, r.asked = n, false
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

func (r *roster) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	_ = r.seg.Close()
}

// attentiveConn has the roster look at the directory after every frame.
type attentiveConn struct {
	conn
	heard func()
}

func (a *attentiveConn) read() (frame, error) {
	f, err := a.conn.read()
	if err == nil {
		a.heard()
	}
	return f, err
}

// Companions lists who is registered with the engine now, this one included, by
// name; nothing when the client is done.
func (c *Client) Companions() []Entry {
	all, _ := c.roster.entries()
	return all
}

// Watch yields who is registered, at once and again whenever somebody came or left,
// until ctx ends or the client is done. It sleeps in between; changes that come
// faster than they are taken become one.
func (c *Client) Watch(ctx context.Context) iter.Seq[[]Entry] {
	return func(yield func([]Entry) bool) {
		for {
			changed := c.roster.expect()
			all, ok := c.roster.entries()
			if !ok || ctx.Err() != nil || !yield(all) {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-c.Done():
				return
			}
		}
	}
}

// Await waits until a companion of that name is registered. It answers why not when
// ctx ends or the client is done; ErrAddress: no companion can have that name. An Open
// right afterwards may still get ErrAddress: the other one calls Handle after Dial.
func (c *Client) Await(ctx context.Context, name string) (Entry, error) {
	if err := companionName(name); err != nil {
		return Entry{}, err
	}
	for all := range c.Watch(ctx) {
		for _, e := range all {
			if e.Name == name {
				return e, nil
			}
		}
	}
	select { // a directory that has vanished ends the client a moment later
	case <-c.Done():
	case <-ctx.Done():
	}
	if err := c.Err(); err != nil {
		return Entry{}, err
	}
	return Entry{}, context.Cause(ctx)
}
