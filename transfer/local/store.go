package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"berth/transfer"
)

// store is the directory: `<id>` holds the bytes and `<id>.info` what tusd knows,
// both from Begin on; `<id>.done` makes an object downloadable. The names say
// nothing about the content.
type store struct {
	dir string
	mu  sync.Mutex // an object becomes visible or vanishes, never both at once
}

// record is what `<id>.done` holds. It is written once, whole, and never changed.
type record struct {
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	Size      int64     `json:"size"`
	Modified  time.Time `json:"modified"`
	Committed time.Time `json:"committed"`
}

func openStore(dir string) (*store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("local destination: %w", err)
	}
	s := &store{dir: filepath.Join(dir, "files")}
	err = os.MkdirAll(s.dir, 0o700)
	if err == nil { // their names have to last as long as what is delivered into them
		err = errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
	}
	if err != nil {
		return nil, fmt.Errorf("local destination: cannot make its directory: %w", err)
	}
	return s, nil
}

// validID accepts what [transfer.Object] promises and nothing else: an ID becomes
// a file name here.
func validID(id string) bool {
	return len(id) == 26 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func (s *store) data(id string) string { return filepath.Join(s.dir, id) }
func (s *store) info(id string) string { return filepath.Join(s.dir, id+".info") }
func (s *store) done(id string) string { return filepath.Join(s.dir, id+".done") }

// committed answers the record of a finished object, or fs.ErrNotExist.
func (s *store) committed(id string) (record, error) {
	var r record
	if !validID(id) {
		return r, fs.ErrNotExist
	}
	text, err := os.ReadFile(s.done(id))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// commit makes the bytes durable and then the object visible, in this order.
func (s *store) commit(ctx context.Context, o transfer.Object) error {
	if _, err := s.committed(o.ID); err == nil {
		return nil
	}
	if err := s.syncData(o); err != nil {
		return err
	}
	text, err := json.Marshal(record{Name: o.Name, Type: o.Type, Size: o.Size, Modified: o.ModTime, Committed: time.Now().UTC()})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := os.Stat(s.data(o.ID)); err != nil { // removed meanwhile
		return fmt.Errorf("%w: %w", transfer.ErrGone, err)
	}
	return writeFile(s.done(o.ID), text)
}

// syncData forces the bytes to disk: tusd leaves them in the system's cache.
func (s *store) syncData(o transfer.Object) error {
	f, err := os.OpenFile(s.data(o.ID), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: its file is no longer in the local store", transfer.ErrGone)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() != o.Size {
		return fmt.Errorf("the local store holds %d of %d bytes: it isn't complete yet", st.Size(), o.Size)
	}
	return f.Sync()
}

// keep makes a new upload's existence durable, so that its handle means something
// after a power cut.
func (s *store) keep(id string) error {
	f, err := os.OpenFile(s.info(id), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncDir(s.dir)
}

// known reports whether tusd can make sense of an upload: what a power cut left
// of its description may be empty, and tusd would answer an internal error.
func (s *store) known(id string) bool {
	if !validID(id) {
		return false
	}
	text, err := os.ReadFile(s.info(id))
	return err == nil && json.Valid(text)
}

// remove takes everything of an object away; the link goes first.
func (s *store) remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, name := range []string{s.done(id), s.data(id), s.info(id)} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// writeFile replaces a file whole and durably: a reader sees the old or the new.
func writeFile(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(name))
}
