package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"
)

// home is the folder of all stores of a user and session key. Its gate is held
// while stores are made, taken over or removed, so that no starting process
// sees another's work half done.
type home struct {
	dir      string
	setAside bool
	log      *slog.Logger
	fault    func() error       // see Config
	sync     func(string) error // syncDir; tests listen
}

// gatePause is how long a start waits before it tries the gate again.
const gatePause = 10 * time.Millisecond

// free is a store that no live process holds: now we do.
type free struct {
	id   string
	lock *flock.Flock
}

// open takes over every store that no live process holds and answers one store
// with all of their jobs. A power cut at any step loses nothing and repeats
// nothing: see merge.
func (h home) open(ctx context.Context) (*store, []stored, error) {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return nil, nil, diskError("making the folder of transfer stores", h.dir, err)
	}
	gate := flock.New(filepath.Join(h.dir, "gate"))
	if _, err := gate.TryLockContext(ctx, gatePause); err != nil {
		return nil, nil, fmt.Errorf("waiting for another controller that is starting (%s): %w", gate.Path(), err)
	}
	defer gate.Close()
	found, err := h.collect()
	if err != nil {
		return nil, nil, err
	}
	s, jobs, err := h.adopt(found)
	if err != nil {
		for _, f := range found {
			f.lock.Close()
		}
	}
	return s, jobs, err
}

// collect locks every free store and clears away what a crash left half made.
func (h home) collect() ([]free, error) {
	for name := range names(h.dir) {
		if id, ok := strings.CutSuffix(name, ".new"); ok && validID(id) {
			os.RemoveAll(filepath.Join(h.dir, name)) // under the gate nobody is making it
		}
	}
	return h.free()
}

// free locks every store that no live process holds, in the order of their names.
func (h home) free() ([]free, error) {
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return nil, fmt.Errorf("looking for transfer stores: %w", err)
	}
	var found []free
	for _, e := range entries {
		if !e.IsDir() || !validID(e.Name()) {
			continue
		}
		lock := flock.New(filepath.Join(h.dir, e.Name()+".lock"))
		held, err := lock.TryLock()
		if err != nil || !held {
			lock.Close()
			if err != nil {
				return nil, fmt.Errorf("locking the transfer store %s: %w", e.Name(), err)
			}
			continue
		}
		found = append(found, free{e.Name(), lock})
	}
	sort.Slice(found, func(i, j int) bool { return found[i].id < found[j].id })
	return found, nil
}

// adopt opens the first free store, or a new one, and merges the others into it.
func (h home) adopt(found []free) (*store, []stored, error) {
	main, jobs, rest, err := h.first(found)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range rest {
		more, err := h.merge(main, jobs, f)
		if err != nil {
			main.close()
			return nil, nil, err
		}
		jobs = append(jobs, more...)
	}
	return main, jobs, nil
}

// first opens the first free store, and when there is none a new one.
func (h home) first(found []free) (*store, []stored, []free, error) {
	for i, f := range found {
		s, jobs, err := openStore(filepath.Join(h.dir, f.id), f.lock, h.fault)
		if errors.Is(err, ErrCorrupt) && h.setAside {
			if err = h.putAside(f); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, nil, nil, err
		}
		return s, jobs, found[i+1:], nil
	}
	s, err := h.create()
	return s, nil, nil, err
}

// create makes a store under a temporary name, complete and synced, before it
// gets its own.
func (h home) create() (*store, error) {
	id := newID()
	dir := filepath.Join(h.dir, id)
	lock := flock.New(dir + ".lock")
	if held, err := lock.TryLock(); err != nil || !held {
		return nil, diskError("locking a new transfer store", h.dir, err)
	}
	err := initStore(dir + ".new")
	if err == nil {
		err = os.Rename(dir+".new", dir)
	}
	if err == nil {
		err = h.syncPath(h.dir)
	}
	if err != nil {
		os.RemoveAll(dir + ".new")
		lock.Close()
		return nil, diskError("making a transfer store", h.dir, err)
	}
	s, _, err := openStore(dir, lock, h.fault)
	return s, err
}

// syncPath makes the names in dir durable, and those of dir itself and of all
// folders above it: they may be as new as the store is, whoever made them. One
// that this user may not look into was not made for the store.
func (h home) syncPath(dir string) error {
	err := h.sync(dir)
	for err == nil && filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
		if err = h.sync(dir); errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) {
			err = nil
		}
	}
	return err
}

// merge moves everything in f into main: first the files, by renaming, then all
// records in one transaction, then f is removed. A cut before the transaction
// leaves the records in f and the files in main; a cut after it leaves the
// records in both. Either way the next start takes both stores, moves all files
// to whichever is main then, and keeps one record of each job: they cannot
// differ, because no job runs before every merge is complete.
func (h home) merge(main *store, known []stored, f free) ([]stored, error) {
	dir := filepath.Join(h.dir, f.id)
	db, jobs, err := readStore(dir)
	if errors.Is(err, ErrCorrupt) && h.setAside {
		return nil, h.putAside(f)
	}
	if err != nil {
		return nil, err
	}
	if err := errors.Join(db.Close(), moveFiles(dir, main.dir)); err != nil {
		return nil, diskError("taking over the transfer store "+f.id, h.dir, err)
	}
	jobs = unknown(jobs, known)
	err = main.update(func(tx *bbolt.Tx) error { return putAll(tx, jobs) }, nil)
	if err != nil {
		return nil, err
	}
	h.log.Info("took over a transfer store", "store", f.id, "jobs", len(jobs))
	return jobs, h.remove(f)
}

func unknown(jobs, known []stored) []stored {
	seen := make(map[string]bool, len(known))
	for _, k := range known {
		seen[k.job.ID] = true
	}
	var fresh []stored
	for _, j := range jobs {
		if !seen[j.job.ID] {
			fresh = append(fresh, j)
		}
	}
	return fresh
}

// moveFiles renames all spooled bytes and progress records from one store to
// another and makes the new names durable. Names are random, so none collide.
func moveFiles(from, to string) error {
	for _, sub := range []string{spoolName, progressName} {
		entries, err := os.ReadDir(filepath.Join(from, sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if err := os.Rename(filepath.Join(from, sub, e.Name()), filepath.Join(to, sub, e.Name())); err != nil {
				return err
			}
		}
		if err := syncDir(filepath.Join(to, sub)); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a merged store: renamed first, so that a cut cannot leave half
// of it under its name. The lock goes last: whoever waited for it finds no store.
func (h home) remove(f free) error {
	dir := filepath.Join(h.dir, f.id)
	if err := os.Rename(dir, dir+".new"); err != nil {
		return fmt.Errorf("removing the merged transfer store: %w", err)
	}
	os.RemoveAll(dir + ".new") // else the next start does it
	err := f.lock.Close()
	os.Remove(dir + ".lock")
	return err
}

// putAside keeps a damaged store under a name that no start looks at.
func (h home) putAside(f free) error {
	dir := filepath.Join(h.dir, f.id)
	aside := dir + ".damaged-" + time.Now().UTC().Format("20060102-150405")
	if err := os.Rename(dir, aside); err != nil {
		return fmt.Errorf("putting the damaged transfer store aside: %w", err)
	}
	h.log.Warn("a damaged transfer store was put aside", "path", aside)
	err := f.lock.Close()
	os.Remove(dir + ".lock")
	return err
}
