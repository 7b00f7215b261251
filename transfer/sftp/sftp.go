// Package sftp uploads to SFTP servers. The host's key is pinned: an unknown one
// is asked about, a changed one refused. Each upload has a connection of its
// own, so that ending its context frees exactly its own writes.
package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"sync"
	"time"

	"berth/transfer"
	"berth/transfer/internal/peer"
)

// Config says where an SFTP server is and how to be let in. The agent's keys are
// tried first, then KeyFile, then the password.
type Config struct {
	Addr       string // host:port
	User       string
	Agent      bool                                  // use the SSH agent, if there is one
	KeyFile    string                                // private key; empty for none
	Passphrase func(context.Context) (string, error) // of KeyFile; asked only if it has one
	Password   func(context.Context) (string, error) // nil for none
	KnownHosts KnownHosts                            // nil knows no host and pins none
	// Dir is where objects go: absolute, or below the directory that the server
	// starts in. It has to exist.
	Dir string
	// Path is a template below Dir, {id}/{name} if empty.
	Path string
	// Link is a template for links, https://host/{id}/{name}; empty gives none.
	Link string
	// Overwrite lets an object replace a file that has its final name.
	Overwrite bool
	// Patience is how long a server may move nothing: 2 minutes if zero.
	Patience time.Duration
	// Dial replaces the system's way to connect; nil keeps it.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Backend is a [transfer.Backend]; it is also a Reader, Linker and Prober. It is
// safe for concurrent use and keeps idle connections until Close.
type Backend struct {
	cfg   Config
	path  peer.Template
	link  peer.Template
	fresh sync.Map // transfer.Handle to nothing: begun, and nobody wrote since
	whole sync.Map // name of a temporary file to its length at a clean Close
	idle  peer.Pool[*conn]
}

const defaultPatience = 2 * time.Minute

// New checks cfg; it doesn't connect.
func New(cfg Config) (*Backend, error) {
	if _, _, err := net.SplitHostPort(cfg.Addr); err != nil {
		return nil, fmt.Errorf("sftp destination: want host:port: %w", err)
	}
	if cfg.User == "" {
		return nil, errors.New("sftp destination: no user is named")
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	b := &Backend{cfg: cfg, path: peer.Template(cfg.Path), link: peer.Template(cfg.Link)}
	if b.path == "" {
		b.path = peer.DefaultPath
	}
	for _, t := range []peer.Template{b.path, b.link} {
		if t == "" {
			continue
		}
		if err := t.Check(); err != nil {
			return nil, fmt.Errorf("sftp destination: %w", err)
		}
	}
	return b, nil
}

// Close drops idle connections. Uploads that are under way go on.
func (b *Backend) Close() error { return b.idle.Close() }

// get answers a connection that is logged in: the last one used, or a new one.
func (b *Backend) get(ctx context.Context) (*conn, error) {
	for {
		c, stale, ok := b.idle.Get()
		if !ok {
			return b.login(ctx)
		}
		if !stale || c.alive(ctx) {
			return c, nil
		}
		c.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// put keeps a connection for later, unless it is of no more use.
func (b *Backend) put(c *conn) {
	if c.dead.Load() {
		c.Close()
		return
	}
	b.idle.Put(c)
}

// with runs f on a connection that ends with ctx, or when the server is silent
// for longer than our patience.
func (b *Backend) with(ctx context.Context, f func(*conn) error) error {
	c, err := b.get(ctx)
	if err != nil {
		return err
	}
	defer b.put(c)
	defer c.guard(ctx)()
	return c.explain(ctx, f(c))
}

// place is where o goes on this server, as absolute paths.
func (b *Backend) place(c *conn, o transfer.Object, h transfer.Handle) (peer.Place, error) {
	if h != "" {
		return b.path.Within(string(h), o)
	}
	return b.path.Place(c.dir(b.cfg.Dir), o)
}

// Begin makes the object's directory. The handle is the temporary name.
func (b *Backend) Begin(ctx context.Context, o transfer.Object) (h transfer.Handle, err error) {
	err = b.with(ctx, func(c *conn) error {
		p, err := b.place(c, o, "")
		if err != nil {
			return err
		}
		h = transfer.Handle(p.Part)
		made, err := c.mkdirs(c.dir(b.cfg.Dir), p.Dir())
		if err != nil {
			return err
		}
		if made && p.Own { // nobody can have been here before
			b.fresh.Store(h, nil)
			return nil
		}
		return b.again(c, o, p)
	})
	return h, err
}

// again begins where something may be left. What an earlier Begin of the same
// object left is overwritten; somebody else's finished file is not.
func (b *Backend) again(c *conn, o transfer.Object, p peer.Place) error {
	n, err := c.size(p.Final)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		b.fresh.Store(transfer.Handle(p.Part), nil)
		return nil
	case err != nil:
		return err
	case p.Own && n == o.Size: // ours, finished, its acknowledgement lost
		return nil
	case b.cfg.Overwrite:
		b.fresh.Store(transfer.Handle(p.Part), nil)
		return nil
	}
	return exists(p)
}

func exists(p peer.Place) error {
	return fmt.Errorf("%w: the sftp server has a file %q already", transfer.ErrExists, path.Base(p.Final))
}

// Commit gives the complete object its final name. OpenSSH refuses to take a name
// that is in use; others are asked first, which leaves a moment for others.
func (b *Backend) Commit(ctx context.Context, o transfer.Object, h transfer.Handle) error {
	return b.with(ctx, func(c *conn) error {
		p, err := b.place(c, o, h)
		if err != nil {
			return err
		}
		if !b.acknowledged(p.Part, o.Size) {
			n, err := c.size(p.Part)
			if errors.Is(err, fs.ErrNotExist) {
				return c.finished(p, o)
			}
			if err == nil && n != o.Size {
				err = fmt.Errorf("the sftp server holds %d of %d bytes: it isn't complete yet", n, o.Size)
			}
			if err != nil {
				return err
			}
		}
		b.whole.Delete(p.Part)
		if b.cfg.Overwrite {
			return c.replace(p)
		}
		return c.rename(p)
	})
}

// rename takes a name that is free.
func (c *conn) rename(p peer.Place) error {
	if !c.openSSH && c.taken(p.Final) {
		return exists(p)
	}
	err := c.sftp.Rename(p.Part, p.Final)
	if err != nil && c.taken(p.Final) {
		return exists(p)
	}
	return lost(err)
}

// lost says that a file which was there a moment ago is gone.
func lost(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", transfer.ErrGone, err)
	}
	return err
}

// replace takes a name, whoever has it: in one step where the server can.
func (c *conn) replace(p peer.Place) error {
	if _, ok := c.sftp.HasExtension("posix-rename@openssh.com"); ok {
		return lost(c.sftp.PosixRename(p.Part, p.Final))
	}
	if err := missing(c.sftp.Remove(p.Final)); err != nil {
		return err
	}
	return lost(c.sftp.Rename(p.Part, p.Final))
}

// Abort removes the temporary file and, where the object has a directory of its
// own, the finished one too. In a directory shared with others a finished file
// stays: nobody can tell whose it is.
func (b *Backend) Abort(ctx context.Context, o transfer.Object, h transfer.Handle) error {
	return b.with(ctx, func(c *conn) error {
		p, err := b.place(c, o, h)
		if err != nil {
			return nil // never begun under such a name
		}
		b.fresh.Delete(transfer.Handle(p.Part))
		b.whole.Delete(p.Part)
		if err := missing(c.sftp.Remove(p.Part)); err != nil || !p.Own {
			return err
		}
		if err := missing(c.sftp.Remove(p.Final)); err != nil {
			return err
		}
		return missing(c.sftp.RemoveDirectory(p.Dir()))
	})
}

// missing turns "there is none" into success.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Link is the template's.
func (b *Backend) Link(o transfer.Object, _ transfer.Handle) (string, bool) { return b.link.Link(o) }

// Probe logs in and looks whether the directory is there.
func (b *Backend) Probe(ctx context.Context) error {
	return b.with(ctx, func(c *conn) error { return c.isDir(c.dir(b.cfg.Dir)) })
}
