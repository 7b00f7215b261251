package transfer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// update makes a change durable: when it answers nil, fn's effects survive a
// power cut, and then has run. fn may run more than once and must only use its
// transaction; then, which may be nil, brings memory up to what is on the disk
// and must not block. On an error neither has had an effect.
func (s *store) update(fn func(*bbolt.Tx) error, then func()) error {
	w := write{fn, then, make(chan error, 1)}
	select {
	case s.writes <- w:
		return diskError("saving the transfer queue", s.dir, <-w.done)
	case <-s.ended:
		return ErrDraining
	}
}

// writer commits whatever waits in one transaction, so that many small changes
// share an fsync. A batch that fails is repeated one by one: the fault of one
// change must not become that of its neighbours.
func (s *store) writer() {
	defer close(s.ended)
	for w := range s.writes {
		if w.fn == nil { // close
			w.done <- errors.Join(s.mend(), s.db.Close())
			return
		}
		batch := s.gather(w)
		if err := s.commit(batch...); err == nil || len(batch) == 1 {
			answer(batch, err)
			continue
		}
		for _, w := range batch {
			answer([]write{w}, s.commit(w))
		}
	}
}

func (s *store) gather(first write) []write {
	batch := []write{first}
	for len(batch) < 256 {
		select {
		case w := <-s.writes:
			if w.fn == nil {
				go func() { s.writes <- w }() // after this batch
				return batch
			}
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

// commit writes a batch. A full disk leaves the file as it was. After any other
// error of the disk nobody knows what the file holds: a second fsync would
// answer success for pages that were dropped. So the file is given up, and
// written anew from memory, which is exactly what was acknowledged: before the
// error is answered, because the change may be in the file all the same and must
// not come back after a crash.
func (s *store) commit(batch ...write) error {
	if err := s.mend(); err != nil {
		return err
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		for _, w := range batch {
			if err := w.fn(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && s.fault != nil {
		err = s.fault()
	}
	if err != nil && !diskFull(err) {
		s.broken = err
		if worse := s.mend(); worse != nil {
			return worse
		}
	}
	return err
}

// mend writes a file anew that can no longer be trusted. While the disk refuses
// that too, it is tried again with every change and at the end. While stores are
// being merged nobody knows everything: then the others still have what is missing.
func (s *store) mend() error {
	if s.broken == nil || s.everything == nil {
		return s.broken
	}
	if err := s.rebuild(); err != nil {
		return fmt.Errorf("%w (since then the store could not be written anew: %w)", s.broken, err)
	}
	s.broken = nil
	return nil
}

// rebuild replaces the database by one that is written from memory.
func (s *store) rebuild() error {
	path := filepath.Join(s.dir, dbName)
	os.Remove(path + ".new")
	err := writeStore(path+".new", s.everything())
	if err == nil {
		err = errors.Join(s.db.Close(), os.Rename(path+".new", path), syncDir(s.dir))
	}
	if err != nil {
		os.Remove(path + ".new")
		return err
	}
	db, err := bbolt.Open(path, 0o600, boltOptions())
	if err == nil { // else the closed one stays: to close it again does no harm
		s.db = db
	}
	return err
}

func answer(batch []write, err error) {
	for _, w := range batch {
		if err == nil && w.then != nil {
			w.then()
		}
		w.done <- err
	}
}

// close ends the writer, closes the database and lets go of the store.
func (s *store) close() error {
	w := write{done: make(chan error, 1)}
	select {
	case s.writes <- w:
		return errors.Join(<-w.done, s.lock.Close())
	case <-s.ended:
		return nil
	}
}
