package transfer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
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
	lock   *flock.Flock
	writes chan write
	ended  chan struct{} // closed when the writer has gone

	// everything answers all that was acknowledged: what a failed disk is
	// rewritten from. Set before the first update that may fail.
	everything func() []stored

	// The rest belongs to the writer.
	db     *bbolt.DB
	broken error        // why the file can no longer be trusted; nil when it can
	fault  func() error // tests: an error of the disk at the end of a commit
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

// write is one durable change: fn within the transaction, then once after it.
type write struct {
	fn   func(*bbolt.Tx) error
	then func()
	done chan error
}

// stored is a job with its items as read from a store.
type stored struct {
	job   jobRecord
	items []itemRecord
}

// openStore opens the database in dir, whose lock the caller holds and passes
// on, and answers what it holds.
func openStore(dir string, lock *flock.Flock, fault func() error) (*store, []stored, error) {
	db, jobs, err := readStore(dir)
	if err != nil {
		return nil, nil, err
	}
	s := &store{dir: dir, db: db, lock: lock, fault: fault, writes: make(chan write), ended: make(chan struct{})}
	go s.writer()
	return s, jobs, nil
}

// readStore opens and reads a database. Damage of any kind is ErrCorrupt.
func readStore(dir string) (*bbolt.DB, []stored, error) {
	path := filepath.Join(dir, dbName)
	err := checkPages(path)
	var db *bbolt.DB
	var jobs []stored
	if err == nil {
		db, jobs, err = loadStore(path)
	}
	if undamaged(err) {
		return nil, nil, fmt.Errorf("the transfer store %s cannot be opened: %w. It may well be whole: see what keeps it, and start the controller again", dir, err)
	}
	if err != nil {
		return nil, nil, advise(ErrCorrupt, err, "the transfer store %s is damaged (%v). It was left as it is. Restore it from a backup, "+
			"or move the folder away to go on without the jobs in it.", dir, err)
	}
	return db, jobs, nil
}

// undamaged tells somebody else's lock and a system that is short of something from
// damage: nobody must be led to give up jobs for those.
func undamaged(err error) bool {
	for _, passing := range []error{bbolterrors.ErrTimeout, fs.ErrPermission, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// boltOptions leaves the list of free pages out of the file: it is found again
// at start, and each commit writes less.
func boltOptions() *bbolt.Options {
	return &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, Timeout: 5 * time.Second}
}

// loadStore opens a file whose pages were checked. What bbolt may still panic
// about is damage too.
func loadStore(path string) (db *bbolt.DB, jobs []stored, err error) {
	var file *os.File
	options := boltOptions()
	options.OpenFile = func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
		file, err = os.OpenFile(name, flag, mode)
		return file, err
	}
	defer func() {
		if r := recover(); r != nil {
			file.Close() // with it goes the lock that bbolt holds on it
			err = fmt.Errorf("%v", r)
		}
	}()
	if db, err = bbolt.Open(path, 0o600, options); err != nil {
		return nil, nil, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
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
	if err != nil {
		db.Close()
	}
	return db, jobs, err
}

// raw is a job as it stands in the file; its slices end with the transaction.
type raw struct {
	key, job []byte
	items    [][]byte
}

// loadJobs reads all jobs, decoding on every processor: a long queue must not
// delay the start.
func loadJobs(tx *bbolt.Tx) ([]stored, error) {
	var raws []raw
	items := tx.Bucket([]byte(bucketItems)).Cursor()
	ik, iv := items.First()
	tx.Bucket([]byte(bucketJobs)).ForEach(func(k, v []byte) error { //nolint:errcheck // only the callback fails
		r := raw{key: k, job: v}
		for ; ik != nil && bytes.Compare(ik, k) < 0; ik, iv = items.Next() { // of no job: not ours to judge
		}
		for ; bytes.HasPrefix(ik, k); ik, iv = items.Next() {
			r.items = append(r.items, iv)
		}
		raws = append(raws, r)
		return nil
	})
	jobs := make([]stored, len(raws))
	errs := make([]error, runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for w := range errs {
		workers.Go(func() {
			for i := w; i < len(raws) && errs[w] == nil; i += len(errs) {
				jobs[i], errs[w] = raws[i].decode()
			}
		})
	}
	workers.Wait()
	return jobs, errors.Join(errs...)
}

func (r raw) decode() (st stored, err error) {
	if st.job, err = decodeJob(r.key, r.job); err != nil {
		return st, err
	}
	if len(r.items) != st.job.Items {
		return st, fmt.Errorf("job %s has %d items, %d were accepted", st.job.ID, len(r.items), st.job.Items)
	}
	st.items = make([]itemRecord, len(r.items))
	for n, v := range r.items {
		if st.items[n], err = decodeItem(v); err != nil {
			return st, err
		}
	}
	return st, nil
}

// initStore creates the database and folders of a new store in dir.
func initStore(dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, spoolName), filepath.Join(dir, progressName)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	return errors.Join(writeStore(filepath.Join(dir, dbName), nil), syncDir(dir))
}

// writeStore makes a database with some jobs, synced.
func writeStore(path string, jobs []stored) error {
	db, err := bbolt.Open(path, 0o600, boltOptions())
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{bucketMeta, bucketJobs, bucketItems} {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return errors.Join(putAll(tx, jobs), tx.Bucket([]byte(bucketMeta)).Put([]byte(keyLayout), []byte(layout)))
	})
	return errors.Join(err, db.Close())
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

// putAll puts many jobs in the order of their keys: within one transaction bbolt
// keeps a growing page as one slice, and inserting into its middle is quadratic.
func putAll(tx *bbolt.Tx, jobs []stored) error {
	sorted := slices.SortedFunc(slices.Values(jobs), func(a, b stored) int { return strings.Compare(a.job.ID, b.job.ID) })
	for _, st := range sorted {
		if err := putStored(tx, st); err != nil {
			return err
		}
	}
	return nil
}

func deleteJob(tx *bbolt.Tx, id string, items int) error {
	for n := range items {
		if err := tx.Bucket([]byte(bucketItems)).Delete(itemKey(id, n)); err != nil {
			return err
		}
	}
	return tx.Bucket([]byte(bucketJobs)).Delete([]byte(id))
}
