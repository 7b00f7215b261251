package ipc

import "sync"

// watchers are the companions that wait for a change of the directory.
type watchers struct {
	mu   sync.Mutex
	seen map[*member]uint32 // changes, as they know it
}

// watch answers a watch frame: by a doorbell when there is news already, else later.
func (e *Engine) watch(m *member, body []byte) error {
	seen, err := decodeUint32(body)
	if err != nil {
		return err
	}
	e.watchers.mu.Lock()
	news := e.directory.changes() != seen
	if !news {
		e.watchers.seen[m] = seen
	}
	e.watchers.mu.Unlock()
	if news {
		m.conn.hint(frameDoorbell)
	}
	return nil
}

// spread rings for those who watch, as long as the engine lives. One goroutine does
// it for all, so that neither who comes nor who leaves waits for who is told.
func (e *Engine) spread() {
	for range e.directory.news {
		for _, m := range e.watchers.due(e.directory.changes()) {
			m.conn.hint(frameDoorbell)
		}
	}
}

// due takes those off the list who have not seen that many changes.
func (w *watchers) due(changes uint32) (all []*member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for m, seen := range w.seen {
		if seen != changes {
			all = append(all, m)
			delete(w.seen, m)
		}
	}
	return all
}

func (w *watchers) remove(m *member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.seen, m)
}
