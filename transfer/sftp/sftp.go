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
	cfg  Config
	tree *peer.Tree
	idle peer.Pool[*conn]
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
	tree, err := peer.NewTree("sftp", cfg.Dir, peer.Template(cfg.Path), peer.Template(cfg.Link), cfg.Overwrite)
	if err != nil {
		return nil, fmt.Errorf("sftp destination: %w", err)
	}
	return &Backend{cfg: cfg, tree: tree}, nil
}

// Close drops idle connections. Uploads that are under way go on.
func (b *Backend) Close() error { return b.idle.Close() }

// get answers a connection that is logged in: the last one used, or a new one.
func (b *Backend) get(ctx context.Context) (*conn, error) {
	return b.idle.Take(ctx, func(c *conn) bool { return c.alive(ctx) }, b.login)
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

// Begin makes the object's directory. The handle is the temporary name.
func (b *Backend) Begin(ctx context.Context, o transfer.Object) (h transfer.Handle, err error) {
	err = b.with(ctx, func(c *conn) (err error) {
		h, err = b.tree.Begin(ctx, c, o)
		return err
	})
	return h, err
}

// Commit gives the complete object its final name. OpenSSH refuses to take a name
// that is in use; others are asked first, which leaves a moment for others.
func (b *Backend) Commit(ctx context.Context, o transfer.Object, h transfer.Handle) error {
	return b.with(ctx, func(c *conn) error { return b.tree.Commit(ctx, c, o, h) })
}

// Abort removes what is on the server, except for a finished file in a directory
// shared with others.
func (b *Backend) Abort(ctx context.Context, o transfer.Object, h transfer.Handle) error {
	return b.with(ctx, func(c *conn) error { return b.tree.Abort(ctx, c, o, h) })
}

// Rename takes a name that is free, or any.
func (c *conn) Rename(_ context.Context, p peer.Place, overwrite bool) error {
	if overwrite {
		return c.replace(p)
	}
	if !c.openSSH && c.taken(p.Final) {
		return p.Taken("sftp")
	}
	err := c.sftp.Rename(p.Part, p.Final)
	if err != nil && c.taken(p.Final) {
		return p.Taken("sftp")
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

// missing turns "there is none" into success.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Link is the template's.
func (b *Backend) Link(o transfer.Object, _ transfer.Handle) (string, bool) { return b.tree.Link(o) }

// Probe logs in and looks whether the directory is there.
func (b *Backend) Probe(ctx context.Context) error {
	return b.with(ctx, func(c *conn) error { return b.tree.Probe(ctx, c) })
}
