package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Package is being collected. Nothing of it is durable, and a restart discards
// it, until Commit answers. Its methods may be called concurrently.
type Package struct {
	q                     *Queue
	id, name, destination string
	backend               Backend
	idle                  *time.Timer
	ctx                   context.Context // ends with Discard and with the queue
	stop                  context.CancelFunc

	mu     sync.Mutex
	items  []itemRecord
	adding int // AddReader calls under way
	job    *Job
	gone   bool // discarded
}

// NewPackage begins an empty package for a destination, which must exist. An
// empty name is replaced by that of the first item.
func (q *Queue) NewPackage(name, destination string) (*Package, error) {
	b, err := q.cfg.Backend(destination)
	if err != nil {
		return nil, fmt.Errorf("destination %q: %w", destination, err)
	}
	p := &Package{q: q, id: newID(), name: name, destination: destination, backend: b}
	p.ctx, p.stop = context.WithCancel(q.ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.draining {
		p.stop()
		return nil, ErrDraining
	}
	q.packages[p.id] = p
	p.idle = time.AfterFunc(q.cfg.PackageIdle, p.expire)
	return p, nil
}

// Package answers a package that is still being collected.
func (q *Queue) Package(id string) (*Package, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p, ok := q.packages[id]
	return p, ok
}

// ID names the package, and the job that it becomes.
func (p *Package) ID() string { return p.id }

// Name is what NewPackage was given.
func (p *Package) Name() string { return p.name }

// Destination is what NewPackage was given.
func (p *Package) Destination() string { return p.destination }

// Items answers what was added so far.
func (p *Package) Items() []Item {
	p.mu.Lock()
	defer p.mu.Unlock()
	items := make([]Item, len(p.items))
	for i, rec := range p.items {
		items[i] = rec.item()
	}
	return items
}

// AddFile adds a regular file by its path. The file is not read now: it must
// stay unchanged until its upload is done, which is checked. An empty name means
// the file's own.
func (p *Package) AddFile(ctx context.Context, path, name string) (Item, error) {
	if err := p.begin(0); err != nil {
		return Item{}, err
	}
	path, err := absolute(path)
	if err != nil {
		return Item{}, err
	}
	f, src, err := openSource(path)
	if errors.Is(err, fs.ErrNotExist) { // it may never have been there
		err = advise(ErrSource, err, "%s does not exist. Check the path and add it again.", shown(path))
	}
	if err != nil {
		return Item{}, err
	}
	f.Close()
	set(&name, filepath.Base(path))
	rec := itemRecord{Path: path, Identity: src.identity, Object: Object{Size: src.size, ModTime: src.modTime}}
	rec.Object.ID = newID()
	return p.add(ctx, rec, name)
}

// AddReader adds what r yields up to io.EOF; any other end of r is an error and
// adds nothing. Each byte is read once, hashed and spooled; when AddReader
// answers, the bytes are on the disk. r should fail when ctx ends; ctx is looked
// at between reads.
func (p *Package) AddReader(ctx context.Context, name string, r io.Reader) (Item, error) {
	if err := p.begin(1); err != nil {
		return Item{}, err
	}
	defer p.end()
	rec := itemRecord{Object: Object{ID: newID(), ModTime: time.Now().UTC()}}
	path := p.q.store.spool(rec.Object.ID)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(p.ctx, stop)()
	s, err := p.q.spool(ctx, path, r)
	if err != nil {
		return Item{}, diskError(fmt.Sprintf("taking over %q", name), p.q.cfg.Dir, err)
	}
	rec.Object.Size, rec.SHA256 = s.size, s.sha256
	it, err := p.add(ctx, rec, name)
	if err != nil {
		os.Remove(path)
	}
	return it, err
}

// begin checks that the package still collects and counts a spooling call.
func (p *Package) begin(adding int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle.Reset(p.q.cfg.PackageIdle)
	if err := p.open(); err != nil {
		return err
	}
	p.adding += adding
	return nil
}

func (p *Package) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.adding--
	p.idle.Reset(p.q.cfg.PackageIdle)
}

func (p *Package) open() error {
	switch {
	case p.gone:
		return fmt.Errorf("package %s was discarded: %w", p.id, ErrNotFound)
	case p.job != nil:
		return advise(ErrState, nil, "package %s is committed and takes no more changes. Begin a new one.", p.id)
	case p.ctx.Err() != nil:
		return ErrDraining
	}
	return nil
}

// add completes a record and appends it.
func (p *Package) add(ctx context.Context, rec itemRecord, name string) (Item, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := errors.Join(ctx.Err(), p.open()); err != nil {
		return Item{}, err
	}
	taken := map[string]bool{}
	for _, other := range p.items {
		taken[strings.ToLower(other.Object.Name)] = true
	}
	rec.Object.Name = unique(SafeName(name), taken)
	rec.Object.Type = mediaType(rec.Object.Name)
	p.items = append(p.items, rec)
	return rec.item(), nil
}

func mediaType(name string) string {
	if t := mime.TypeByExtension(filepath.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

// Remove takes an item out again.
func (p *Package) Remove(item string) error {
	if err := p.begin(0); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, rec := range p.items {
		if rec.Object.ID == item {
			p.items = append(p.items[:i:i], p.items[i+1:]...)
			if rec.spooled() {
				os.Remove(p.q.store.spool(item))
			}
			return nil
		}
	}
	return fmt.Errorf("item %s in package %s: %w", item, p.id, ErrNotFound)
}

// Commit turns the package into a job, durably: when it answers nil, the queue
// delivers the job across any crash. After an error nothing was accepted and the
// package is as before, so that Commit can be called again. After success it
// answers the same job again.
func (p *Package) Commit(ctx context.Context) (Job, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.job != nil {
		return *p.job, nil
	}
	if err := errors.Join(ctx.Err(), p.open()); err != nil {
		return Job{}, err
	}
	if p.adding > 0 {
		return Job{}, advise(ErrState, nil, "package %s is still receiving an item. Wait for it, then commit.", p.id)
	}
	if len(p.items) == 0 {
		return Job{}, ErrEmpty
	}
	if slices.ContainsFunc(p.items, itemRecord.spooled) {
		if err := syncDir(p.q.store.spool("")); err != nil {
			return Job{}, diskError("accepting the package", p.q.cfg.Dir, err)
		}
	}
	j, err := p.q.accept(p.stored())
	if err != nil {
		return Job{}, err
	}
	p.idle.Stop()
	p.stop()
	p.job = &j
	return j, nil
}

// stored makes the records of the job.
func (p *Package) stored() stored {
	st := stored{items: append([]itemRecord(nil), p.items...)}
	for i := range st.items {
		st.items[i].Link = link(p.backend, st.items[i])
	}
	name := p.name
	set(&name, st.items[0].Object.Name)
	st.job = jobRecord{
		ID: p.id, Name: name, Destination: p.destination, State: Queued,
		Created: time.Now().UTC(), Items: len(st.items),
	}
	return st
}

// link answers the link of an item as far as its backend knows it.
func link(b Backend, rec itemRecord) string {
	if l, ok := b.(Linker); ok {
		if url, ok := l.Link(rec.Object, rec.Handle); ok {
			return url
		}
	}
	return rec.Link
}

// Discard forgets the package and deletes what was spooled. Calls that are still
// adding to it fail. Discarding again does nothing.
func (p *Package) Discard() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.job != nil {
		return p.open()
	}
	p.discard()
	return nil
}

// expire discards a package that nobody touched for long, unless an item is
// arriving just now.
func (p *Package) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.job != nil || p.gone {
		return
	}
	if p.adding > 0 {
		p.idle.Reset(p.q.cfg.PackageIdle)
		return
	}
	p.q.cfg.Log.Info("discarded a package that was never committed", "package", p.id)
	p.discard()
}

// discard does it; p.mu is held.
func (p *Package) discard() {
	p.gone = true
	p.idle.Stop()
	p.stop()
	for _, rec := range p.items {
		if rec.spooled() {
			os.Remove(p.q.store.spool(rec.Object.ID))
		}
	}
	p.items = nil
	p.q.mu.Lock()
	delete(p.q.packages, p.id)
	p.q.mu.Unlock()
}
