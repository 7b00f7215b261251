package transfer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"
)

// A store is a directory <state>/stores/<key>/<random id>:
//
//	jobs.db        bbolt: meta, jobs by id, items by job id and number
//	spool/<id>     the bytes of an item that came from memory
//	progress/<id>  how far an upload has got (progress.go)
//
// beside it stands <random id>.lock, held by the process that uses the store.
// Everything it acknowledges was fsynced before; see [store.update].
type store struct {
	dir    string
	db     *bbolt.DB
	lock   *flock.Flock
	writes chan write
	ended  chan struct{} // closed when the writer has gone
}

const (
	bucketMeta   = "meta"
	bucketJobs   = "jobs"
	bucketItems  = "items"
	keyLayout    = "layout"
	layout       = "1"
	dbName       = "jobs.db"
	spoolName    = "spool"
	progressName = "progress"
)

// write is one durable change. The writer commits all that wait in one go.
type write struct {
	fn   func(*bbolt.Tx) error
	done chan error
}

// stored is a job with its items as read from a store.
type stored struct {
	job   jobRecord
	items []itemRecord
}

// openStore opens the database in dir, whose lock the caller holds and passes
// on, and answers what it holds.
func openStore(dir string, lock *flock.Flock) (*store, []stored, error) {
	db, jobs, err := readStore(dir)
	if err != nil {
		return nil, nil, err
	}
	s := &store{dir: dir, db: db, lock: lock, writes: make(chan write), ended: make(chan struct{})}
	go s.writer()
	return s, jobs, nil
}

// readStore opens and reads a database. Damage of any kind is ErrCorrupt: a
// page that is missing faults, a page that is wrong may panic inside bbolt.
func readStore(dir string) (db *bbolt.DB, jobs []stored, err error) {
	path := filepath.Join(dir, dbName)
	defer func(old bool) {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
		if err != nil && !errors.Is(err, ErrNoSpace) {
			err = advise(ErrCorrupt, err, "the transfer store %s is damaged (%v). It was left as it is. Restore it from a backup, "+
				"or move the folder away to go on without the jobs in it.", dir, err)
		}
	}(debug.SetPanicOnFault(true))
	if _, err := os.Stat(path); err != nil {
		return nil, nil, err
	}
	db, err = bbolt.Open(path, 0o600, boltOptions())
	if err != nil {
		return nil, nil, err
	}
	if jobs, err = loadStore(db, path); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, jobs, nil
}

// boltOptions leaves the list of free pages out of the file: it is found again
// at start, and each commit writes less.
func boltOptions() *bbolt.Options {
	return &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}
}

func loadStore(db *bbolt.DB, path string) (jobs []stored, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		if info, err := os.Stat(path); err != nil || info.Size() < tx.Size() {
			return errors.Join(err, fmt.Errorf("the file is shorter than the %d bytes it should have", tx.Size()))
		}
		for _, name := range []string{bucketMeta, bucketJobs, bucketItems} {
			if tx.Bucket([]byte(name)) == nil {
				return fmt.Errorf("part %q is missing", name)
			}
		}
		if got := tx.Bucket([]byte(bucketMeta)).Get([]byte(keyLayout)); string(got) != layout {
			return fmt.Errorf("layout is %q, this program knows %q", got, layout)
		}
		jobs, err = loadJobs(tx)
		return err
	})
	return jobs, err
}

func loadJobs(tx *bbolt.Tx) ([]stored, error) {
	var jobs []stored
	items := tx.Bucket([]byte(bucketItems)).Cursor()
	err := tx.Bucket([]byte(bucketJobs)).ForEach(func(k, v []byte) error {
		rec, err := decodeJob(k, v)
		if err != nil {
			return err
		}
		st := stored{job: rec}
		for k, v := items.Seek([]byte(rec.ID)); bytes.HasPrefix(k, []byte(rec.ID)); k, v = items.Next() {
			it, err := decodeItem(v)
			if err != nil {
				return err
			}
			st.items = append(st.items, it)
		}
		if len(st.items) != rec.Items {
			return fmt.Errorf("job %s has %d items, %d were accepted", rec.ID, len(st.items), rec.Items)
		}
		jobs = append(jobs, st)
		return nil
	})
	return jobs, err
}

// initStore creates the database and folders of a new store in dir.
func initStore(dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, spoolName), filepath.Join(dir, progressName)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	db, err := bbolt.Open(filepath.Join(dir, dbName), 0o600, boltOptions())
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{bucketMeta, bucketJobs, bucketItems} {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return tx.Bucket([]byte(bucketMeta)).Put([]byte(keyLayout), []byte(layout))
	})
	return errors.Join(err, db.Close(), syncDir(dir))
}

// update makes a change durable: when it answers nil, fn's effects survive a
// power cut. fn may run more than once and must only use its transaction.
func (s *store) update(fn func(*bbolt.Tx) error) error {
	w := write{fn, make(chan error, 1)}
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
			w.done <- s.db.Close()
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

func (s *store) commit(batch ...write) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, w := range batch {
			if err := w.fn(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

func answer(batch []write, err error) {
	for _, w := range batch {
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

func (s *store) spool(id string) string    { return filepath.Join(s.dir, spoolName, id) }
func (s *store) progress(id string) string { return filepath.Join(s.dir, progressName, id) }

func itemKey(job string, n int) []byte {
	return binary.BigEndian.AppendUint32([]byte(job), uint32(n))
}

func putJob(tx *bbolt.Tx, rec jobRecord) error {
	v, err := encodeRecord(rec)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(bucketJobs)).Put([]byte(rec.ID), v)
}

func putItem(tx *bbolt.Tx, job string, n int, rec itemRecord) error {
	v, err := encodeRecord(rec)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(bucketItems)).Put(itemKey(job, n), v)
}

func putStored(tx *bbolt.Tx, st stored) error {
	for n, it := range st.items {
		if err := putItem(tx, st.job.ID, n, it); err != nil {
			return err
		}
	}
	return putJob(tx, st.job)
}

func deleteJob(tx *bbolt.Tx, rec jobRecord) error {
	for n := range rec.Items {
		if err := tx.Bucket([]byte(bucketItems)).Delete(itemKey(rec.ID, n)); err != nil {
			return err
		}
	}
	return tx.Bucket([]byte(bucketJobs)).Delete([]byte(rec.ID))
}
