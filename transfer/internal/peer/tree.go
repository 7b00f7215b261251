package peer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"berth/transfer"
)

// Server is a connection to a server that keeps files in directories. One goroutine
// uses it at a time. A name that isn't there is fs.ErrNotExist.
type Server interface {
	Home() string // where the server started us
	Size(ctx context.Context, name string) (int64, error)
	// Enter answers nil for a directory that exists.
	Enter(ctx context.Context, dir string) error
	// MakeDir makes one directory; one that is there already may be refused in any way.
	MakeDir(ctx context.Context, dir string) error
	// Rename gives a part its final name. It doesn't take one that somebody has, unless
	// it may: see Place.Taken.
	Rename(ctx context.Context, p Place, overwrite bool) error
	// Remove and RemoveDir are content when there is nothing to remove.
	Remove(ctx context.Context, name string) error
	RemoveDir(ctx context.Context, dir string) error
}

// Tree is what the backends of such servers do alike: where an object is on its way
// to its final name, and what a step that was cut off has left. It is safe for
// concurrent use.
type Tree struct {
	protocol  string // for people
	dir       string
	path      Template
	link      Template
	overwrite bool
	fresh     sync.Map // name of a part to nothing: begun, and nobody wrote since
	held      sync.Map // name of a part to how many bytes the server said, to this process, that it holds
}

// NewTree puts objects below dir: absolute, or below the directory that the server
// starts in. An empty path is DefaultPath; an empty link gives none.
func NewTree(protocol, dir string, path, link Template, overwrite bool) (*Tree, error) {
	if path == "" {
		path = DefaultPath
	}
	err := path.Check()
	if err == nil && link != "" {
		err = link.Check()
	}
	return &Tree{protocol: protocol, dir: dir, path: path, link: link, overwrite: overwrite}, err
}

// Link is the template's.
func (t *Tree) Link(o transfer.Object) (string, bool) { return t.link.Link(o) }

// Taken says that somebody has the final name.
func (p Place) Taken(protocol string) error {
	return fmt.Errorf("%w: the %s server has a file %q already", transfer.ErrExists, protocol, path.Base(p.Final))
}

// base is the configured directory as an absolute path.
func (t *Tree) base(s Server) string {
	if path.IsAbs(t.dir) {
		return path.Clean(t.dir)
	}
	return path.Join(s.Home(), t.dir)
}

// Place is where o goes on this server, as absolute paths.
func (t *Tree) Place(s Server, o transfer.Object, h transfer.Handle) (Place, error) {
	if h != "" {
		return t.path.Within(string(h), o)
	}
	return t.path.Place(t.base(s), o)
}

// Probe looks whether the directory is there.
func (t *Tree) Probe(ctx context.Context, s Server) error { return s.Enter(ctx, t.base(s)) }

// Begin makes the object's directory. The handle is the temporary name.
func (t *Tree) Begin(ctx context.Context, s Server, o transfer.Object) (transfer.Handle, error) {
	p, err := t.Place(s, o, "")
	if err != nil {
		return "", err
	}
	made, err := t.makeDirs(ctx, s, t.base(s), p.Dir())
	switch {
	case err != nil:
	case made && p.Own: // nobody can have been here before
		t.fresh.Store(p.Part, nil)
	default:
		err = t.again(ctx, s, o, p)
	}
	return transfer.Handle(p.Part), err
}

// again begins where something may be left. What an earlier Begin of the same
// object left is overwritten; somebody else's finished file is not.
func (t *Tree) again(ctx context.Context, s Server, o transfer.Object, p Place) error {
	n, err := s.Size(ctx, p.Final)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.fresh.Store(p.Part, nil)
		return nil
	case err != nil:
		return err
	case p.Own && n == o.Size: // ours, finished, its acknowledgement lost
		return nil
	case t.overwrite:
		t.fresh.Store(p.Part, nil)
		return nil
	}
	return p.Taken(t.protocol)
}

// makeDirs makes the directories between base, which has to exist, and dir. It
// reports whether dir is new.
func (t *Tree) makeDirs(ctx context.Context, s Server, base, dir string) (made bool, err error) {
	if dir == base {
		return false, nil
	}
	parent := path.Dir(dir)
	if len(parent) > len(base) {
		if _, err := t.makeDirs(ctx, s, base, parent); err != nil {
			return false, err
		}
	}
	err = s.MakeDir(ctx, dir)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, s.Enter(ctx, parent)
	case s.Enter(ctx, dir) == nil:
		return false, nil
	}
	return false, err
}

// Remains is what a server has of an object.
type Remains struct {
	Place     Place
	Length    int64 // of the temporary file
	Exists    bool  // the temporary file
	Committed bool  // the object has its final name
}

// Recall answers without asking the server: nobody has written since the object was
// begun. It says so only once.
func (t *Tree) Recall(o transfer.Object, h transfer.Handle) (r Remains, ok bool, err error) {
	if h == "" {
		return r, false, transfer.ErrGone
	}
	if _, ok = t.fresh.LoadAndDelete(string(h)); ok {
		r.Place, err = t.path.Within(string(h), o)
	}
	return r, ok, err
}

// Find looks where to go on. A file that is longer than the object can ever be isn't
// ours: it counts as missing.
func (t *Tree) Find(ctx context.Context, s Server, o transfer.Object, h transfer.Handle) (r Remains, err error) {
	if r.Place, err = t.Place(s, o, h); err != nil {
		return r, err
	}
	n, err := Agree(ctx, func(ctx context.Context) (int64, error) { return s.Size(ctx, r.Place.Part) })
	if errors.Is(err, fs.ErrNotExist) {
		return t.missing(ctx, s, o, r)
	}
	if err == nil && n <= o.Size {
		r.Exists, r.Length = true, n
	}
	return r, err
}

// missing tells a finished object from one that was begun but never written, and
// both from one that is gone.
func (t *Tree) missing(ctx context.Context, s Server, o transfer.Object, r Remains) (Remains, error) {
	err := t.finished(ctx, s, r.Place, o)
	if err == nil {
		r.Committed = true
		return r, nil
	}
	if errors.Is(err, transfer.ErrGone) && r.Place.Own && s.Enter(ctx, r.Place.Dir()) == nil {
		return r, nil
	}
	return r, err
}

// finished answers nil if the object has its final name, and ErrGone otherwise.
func (t *Tree) finished(ctx context.Context, s Server, p Place, o transfer.Object) error {
	n, err := s.Size(ctx, p.Final)
	if err == nil && n == o.Size {
		return nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the %s server has no %q", transfer.ErrGone, t.protocol, path.Base(p.Part))
	}
	return err
}

// Holds notes that the server acknowledged n bytes of a part, the last of its upload.
func (t *Tree) Holds(part string, n int64) { t.held.Store(part, n) }

// Touch notes that somebody writes to a part again.
func (t *Tree) Touch(part string) { t.held.Delete(part) }

// Held reports whether the server said that it holds every one of the first n bytes.
func (t *Tree) Held(part string, n int64) bool {
	at, ok := t.held.Load(part)
	return ok && at.(int64) == n
}

// Commit gives the complete object its final name.
func (t *Tree) Commit(ctx context.Context, s Server, o transfer.Object, h transfer.Handle) error {
	p, err := t.Place(s, o, h)
	if err != nil {
		return err
	}
	if !t.Held(p.Part, o.Size) {
		n, err := s.Size(ctx, p.Part)
		if errors.Is(err, fs.ErrNotExist) {
			return t.finished(ctx, s, p, o)
		}
		if err == nil && n != o.Size {
			err = fmt.Errorf("the %s server holds %d of %d bytes: it isn't complete yet", t.protocol, n, o.Size)
		}
		if err != nil {
			return err
		}
	}
	t.Touch(p.Part)
	return s.Rename(ctx, p, t.overwrite)
}

// Abort removes the temporary file and, where the object has a directory of its
// own, the finished one too. In a directory shared with others a finished file
// stays: nobody can tell whose it is.
func (t *Tree) Abort(ctx context.Context, s Server, o transfer.Object, h transfer.Handle) error {
	p, err := t.Place(s, o, h)
	if err != nil {
		return nil // never begun under such a name
	}
	t.fresh.Delete(p.Part)
	t.Touch(p.Part)
	if err := s.Remove(ctx, p.Part); err != nil || !p.Own {
		return err
	}
	if err := s.Remove(ctx, p.Final); err != nil {
		return err
	}
	return s.RemoveDir(ctx, p.Dir())
}

// Current finds the object under the name it has just now, by asking open for one
// after the other.
func (t *Tree) Current(s Server, o transfer.Object, h transfer.Handle, open func(name string) error) error {
	p, err := t.Place(s, o, h)
	if err != nil {
		return err
	}
	for _, name := range []string{p.Part, p.Final} {
		if err := open(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return transfer.ErrGone
}
