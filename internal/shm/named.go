package shm

import (
	"errors"

	"berth/session"
)

// ErrGone is wrapped by errors about a named memory that is no longer the one
// which others find under its name.
var ErrGone = errors.New("the shared memory has been replaced")

// Named is memory that every process of a session finds under one name, mapped
// for reading and writing. Whoever opens it first makes it; it starts as zeros.
//
// On Windows it is a named section and gone with its last handle, which Named
// keeps. On Unix it is a file in the session's runtime directory, mode 0600: its
// bytes outlive the processes, so users of it must tell by other means whether
// anybody is alive behind them.
type Named struct {
	b    []byte
	impl named
}

// OpenNamed opens or makes the memory called name with at least size bytes, and
// tells whether it was made by this call (always false on Unix, see [Named]).
func OpenNamed(s session.Session, name string, size int) (n *Named, made bool, err error) {
	if err := session.CheckApp(name); err != nil {
		return nil, false, err
	}
	return openNamed(s, name, size)
}

// Bytes is the mapped memory. It begins at a page boundary and holds at least the
// bytes asked for, unless somebody else made the memory smaller.
func (n *Named) Bytes() []byte { return n.b }

// Check fails with [ErrGone] when others find another memory under the name, as
// after a logout that removed the runtime directory.
func (n *Named) Check() error { return n.impl.check() }

// Close unmaps the memory and closes its handle. Nobody may touch Bytes after it.
func (n *Named) Close() error {
	n.b = nil
	return n.impl.close()
}

// ReadNamed copies up to len(buf) bytes from the start of the memory called name,
// without joining it. It fails with fs.ErrNotExist when there is none. The copy is
// not atomic.
func ReadNamed(s session.Session, name string, buf []byte) (int, error) {
	if err := session.CheckApp(name); err != nil {
		return 0, err
	}
	return readNamed(s, name, buf)
}
