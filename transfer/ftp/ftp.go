// Package ftp uploads to FTP servers. Control and data connections are its own,
// so that ending a context frees a write to a server that has gone silent, an
// upload resumes at the server's offset, and a server never chooses the address
// that data goes to.
//
// Plain FTP protects nothing on the way: whoever can read the network reads the
// password and the files, and may change them. The final hash is the server's
// word then.
package ftp

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

// Config says where an FTP server is and how to be let in.
type Config struct {
	Addr     string                                // host:port
	User     string                                // anonymous if empty
	Password func(context.Context) (string, error) // asked at each login
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

// Backend is a [transfer.Backend]; it is also a Hasher, Reader, Linker and
// Prober. It is safe for concurrent use and keeps idle connections until Close.
type Backend struct {
	cfg      Config
	password peer.Secret
	tree     *peer.Tree
	idle     peer.Pool[*conn]
}

const defaultPatience = 2 * time.Minute

// New checks cfg; it doesn't connect.
func New(cfg Config) (*Backend, error) {
	if _, _, err := net.SplitHostPort(cfg.Addr); err != nil {
		return nil, fmt.Errorf("ftp destination: want host:port: %w", err)
	}
	if cfg.User == "" {
		cfg.User = "anonymous"
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	tree, err := peer.NewTree("ftp", cfg.Dir, peer.Template(cfg.Path), peer.Template(cfg.Link), cfg.Overwrite)
	if err != nil {
		return nil, fmt.Errorf("ftp destination: %w", err)
	}
	return &Backend{cfg: cfg, password: cfg.Password, tree: tree}, nil
}

// Close drops idle connections. Uploads that are under way go on.
func (b *Backend) Close() error { return b.idle.Close() }

// get answers a connection that is logged in: the last one used, or a new one.
func (b *Backend) get(ctx context.Context) (*conn, error) {
	return b.idle.Take(ctx, func(c *conn) bool { return c.simple(ctx, "answer", "NOOP") == nil }, b.login)
}

// put keeps a connection for later, unless its conversation is out of step.
func (b *Backend) put(c *conn) {
	if c.broken {
		c.Close()
		return
	}
	b.idle.Put(c)
}

// with runs f on a connection. A refusal leaves it in good order, a broken
// conversation doesn't.
func (b *Backend) with(ctx context.Context, f func(*conn) error) error {
	c, err := b.get(ctx)
	if err != nil {
		return err
	}
	defer b.put(c)
	return f(c)
}

// Begin makes the object's directory. The handle is the temporary name.
func (b *Backend) Begin(ctx context.Context, o transfer.Object) (h transfer.Handle, err error) {
	err = b.with(ctx, func(c *conn) (err error) {
		h, err = b.tree.Begin(ctx, c, o)
		return err
	})
	return h, err
}

// Commit gives the complete object its final name. Between looking whether that
// is free and taking it, FTP leaves a moment for others.
func (b *Backend) Commit(ctx context.Context, o transfer.Object, h transfer.Handle) error {
	return b.with(ctx, func(c *conn) error { return b.tree.Commit(ctx, c, o, h) })
}

// Abort removes what is on the server, except for a finished file in a directory
// shared with others.
func (b *Backend) Abort(ctx context.Context, o transfer.Object, h transfer.Handle) error {
	return b.with(ctx, func(c *conn) error { return b.tree.Abort(ctx, c, o, h) })
}

// Rename takes a name that is free, or any.
func (c *conn) Rename(ctx context.Context, p peer.Place, overwrite bool) error {
	_, err := c.Size(ctx, p.Final)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c.rename(ctx, p)
	case err == nil && overwrite:
		return c.replace(ctx, p)
	case err == nil:
		return p.Taken("ftp")
	}
	return err
}

func (c *conn) rename(ctx context.Context, p peer.Place) error {
	_, err := c.cmd(ctx, "rename", 350, "RNFR", p.Part)
	if is(err, 550, 450) {
		if _, gone := c.Size(ctx, p.Part); errors.Is(gone, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", transfer.ErrGone, err)
		}
	}
	if err != nil {
		return err
	}
	_, err = c.cmd(ctx, "rename", 250, "RNTO", p.Final)
	return err
}

// replace renames over a file; a server that won't has it removed first.
func (c *conn) replace(ctx context.Context, p peer.Place) error {
	err := c.rename(ctx, p)
	if !is(err, 550, 553) {
		return err
	}
	if err := c.Remove(ctx, p.Final); err != nil {
		return err
	}
	return c.rename(ctx, p)
}

// Link is the template's.
func (b *Backend) Link(o transfer.Object, _ transfer.Handle) (string, bool) { return b.tree.Link(o) }

// Probe logs in and looks whether the directory is there.
func (b *Backend) Probe(ctx context.Context) error {
	return b.with(ctx, func(c *conn) error { return b.tree.Probe(ctx, c) })
}
