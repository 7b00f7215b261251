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
	"net"
	"path"
	"sync"
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
	path     peer.Template
	link     peer.Template
	fresh    sync.Map // transfer.Handle to nothing: begun, and nobody wrote since
	whole    sync.Map // transfer.Handle to nothing: the server just said that it is complete
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
	b := &Backend{cfg: cfg, password: cfg.Password, path: peer.Template(cfg.Path), link: peer.Template(cfg.Link)}
	if b.path == "" {
		b.path = peer.DefaultPath
	}
	for _, t := range []peer.Template{b.path, b.link} {
		if t == "" {
			continue
		}
		if err := t.Check(); err != nil {
			return nil, fmt.Errorf("ftp destination: %w", err)
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
		if !stale || c.simple(ctx, "answer", "NOOP") == nil {
			return c, nil
		}
		c.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
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

// place is where o goes on this server, as absolute paths.
func (b *Backend) place(c *conn, o transfer.Object, h transfer.Handle) (peer.Place, error) {
	if h != "" {
		return b.path.Within(string(h), o)
	}
	return b.path.Place(c.dir(b.cfg.Dir), o)
}

// dir is a configured directory as an absolute path.
func (c *conn) dir(configured string) string {
	if path.IsAbs(configured) {
		return path.Clean(configured)
	}
	return path.Join(c.home, configured)
}

// Begin makes the object's directory. The handle is the temporary name.
func (b *Backend) Begin(ctx context.Context, o transfer.Object) (h transfer.Handle, err error) {
	err = b.with(ctx, func(c *conn) error {
		p, err := b.place(c, o, "")
		if err != nil {
			return err
		}
		h = transfer.Handle(p.Part)
		made, err := c.mkdirs(ctx, c.dir(b.cfg.Dir), p.Dir())
		if err != nil {
			return err
		}
		if made && p.Own { // nobody can have been here before
			b.fresh.Store(h, nil)
			return nil
		}
		return b.again(ctx, c, o, p)
	})
	return h, err
}

// again begins where something may be left. What an earlier Begin of the same
// object left is overwritten; somebody else's finished file is not.
func (b *Backend) again(ctx context.Context, c *conn, o transfer.Object, p peer.Place) error {
	n, err := c.size(ctx, p.Final)
	switch {
	case errors.Is(err, errMissing):
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
	return fmt.Errorf("%w: the ftp server has a file %q already", transfer.ErrExists, path.Base(p.Final))
}

// Commit gives the complete object its final name. Between looking whether that
// is free and taking it, FTP leaves a moment for others.
func (b *Backend) Commit(ctx context.Context, o transfer.Object, h transfer.Handle) error {
	return b.with(ctx, func(c *conn) error {
		p, err := b.place(c, o, h)
		if err != nil {
			return err
		}
		if _, whole := b.whole.LoadAndDelete(h); !whole {
			n, err := c.size(ctx, p.Part)
			if errors.Is(err, errMissing) {
				return c.finished(ctx, p, o)
			}
			if err == nil && n != o.Size {
				err = fmt.Errorf("the ftp server holds %d of %d bytes: it isn't complete yet", n, o.Size)
			}
			if err != nil {
				return err
			}
		}
		_, err = c.size(ctx, p.Final)
		switch {
		case errors.Is(err, errMissing):
			return c.rename(ctx, p)
		case err == nil && b.cfg.Overwrite:
			return c.replace(ctx, p)
		case err == nil:
			return fmt.Errorf("%w: the ftp server has a file %q already", transfer.ErrExists, path.Base(p.Final))
		}
		return err
	})
}

func (c *conn) rename(ctx context.Context, p peer.Place) error {
	_, err := c.cmd(ctx, "rename", 350, "RNFR", p.Part)
	if is(err, 550, 450) {
		if _, gone := c.size(ctx, p.Part); errors.Is(gone, errMissing) {
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
	if err := c.remove(ctx, p.Final); err != nil {
		return err
	}
	return c.rename(ctx, p)
}

// finished answers nil if the object has its final name, and ErrGone otherwise.
func (c *conn) finished(ctx context.Context, p peer.Place, o transfer.Object) error {
	n, err := c.size(ctx, p.Final)
	if err == nil && n == o.Size {
		return nil
	}
	if err == nil || errors.Is(err, errMissing) {
		return fmt.Errorf("%w: the ftp server has no %q", transfer.ErrGone, path.Base(p.Part))
	}
	return err
}

// Abort removes the temporary file and, where the object has a directory of its
// own, the finished one too. In a directory shared with others a finished file
// stays: FTP can't tell whose it is.
func (b *Backend) Abort(ctx context.Context, o transfer.Object, h transfer.Handle) error {
	return b.with(ctx, func(c *conn) error {
		p, err := b.place(c, o, h)
		if err != nil {
			return nil // never begun under such a name
		}
		b.fresh.Delete(transfer.Handle(p.Part))
		b.whole.Delete(transfer.Handle(p.Part))
		if err := c.remove(ctx, p.Part); err != nil || !p.Own {
			return err
		}
		if err := c.remove(ctx, p.Final); err != nil {
			return err
		}
		return c.rmdir(ctx, p.Dir())
	})
}

// Link is the template's.
func (b *Backend) Link(o transfer.Object, _ transfer.Handle) (string, bool) { return b.link.Link(o) }

// Probe logs in and looks whether the directory is there.
func (b *Backend) Probe(ctx context.Context) error {
	return b.with(ctx, func(c *conn) error { return c.enter(ctx, c.dir(b.cfg.Dir)) })
}
