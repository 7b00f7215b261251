//go:build unix

package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"berth/session"
)

// unixConn is a control stream over a Unix socket.
type unixConn struct {
	*outbox
	c       *net.UnixConn
	raw     syscall.RawConn
	oob     []byte
	handles []uintptr // came with bytes already read, not yet given to a frame
	lost    error     // why handles that came are not here; io.ReadFull forgets it
	poor    bool      // the peer has no handles to pass: it is a companion

	now     sending          // guarded by the outbox's mu: what try sends
	sendNow func(fd uintptr) // one step of now; made once, so that a doorbell allocates nothing

	// Of the reader, and kept for the same reason.
	head   [frameHead]byte
	coming receiving
}

func newUnixConn(c *net.UnixConn) (*unixConn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	u := &unixConn{c: c, raw: raw, oob: make([]byte, unix.CmsgSpace(maxHandles*4))}
	u.outbox = newOutbox(u, func() { _ = c.Close() })
	u.sendNow = func(fd uintptr) { u.now.step(fd) }
	return u, nil
}

func (u *unixConn) read() (frame, error) {
	f, n, err := readFrame(u, &u.head)
	if err == nil {
		err = u.lost
	}
	if err == nil && n != len(u.handles) {
		err = fmt.Errorf("%w: %d handles came where %d were announced", ErrProtocol, len(u.handles), n)
	}
	if err == nil && n > 0 && u.poor {
		err = fmt.Errorf("%w: a companion passed %d handles", ErrProtocol, n)
	}
	f.handles, u.handles = u.handles, nil
	if err != nil {
		closeHandles(f.handles)
		return frame{}, err
	}
	return f, nil
}

// Read receives bytes and collects the descriptors beside them.
func (u *unixConn) Read(b []byte) (int, error) {
	n, oobn, flags, err := u.coming.receive(u, b)
	if oobn > 0 {
		if u.lost = u.collect(u.oob[:oobn]); u.lost != nil {
			return n, u.lost
		}
	}
	if flags&unix.MSG_CTRUNC != 0 {
		u.lost = fmt.Errorf("%w: more descriptors than this process may have", ErrProtocol)
		return n, u.lost
	}
	if err == nil && n == 0 && len(b) > 0 {
		err = io.EOF
	}
	return n, err
}

func (u *unixConn) collect(oob []byte) error {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			u.handles = append(u.handles, uintptr(fd))
		}
	}
	if len(u.handles) > maxHandles {
		return fmt.Errorf("%w: %d descriptors with one frame", ErrProtocol, len(u.handles))
	}
	return nil
}

func (u *unixConn) write(kind uint8, body []byte, grants ...grant) error {
	head := encodeHead(kind, len(grants), len(body))
	return u.post(letter{data: append(head[:], body...), grants: grants})
}

// sending is a letter that is being sent.
type sending struct {
	data []byte
	oob  []byte // goes with the first byte
	n    int
	err  error
}

func newSending(data []byte, grants []grant) sending {
	if len(grants) == 0 {
		return sending{data: data}
	}
	fds := make([]int, len(grants))
	for i, g := range grants {
		fds[i] = int(g.handle)
	}
	return sending{data: data, oob: unix.UnixRights(fds...)}
}

// step sends what fits; false when the socket is full.
func (s *sending) step(fd uintptr) bool {
	for s.n < len(s.data) {
		n, err := unix.SendmsgN(int(fd), s.data[s.n:], s.oob, nil, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN || err == unix.ENOBUFS:
			return false
		case err != nil:
			s.err = err
			return true
		default:
			s.n, s.oob = s.n+n, nil
		}
	}
	return true
}

func (u *unixConn) try(data []byte, grants []grant) (int, error) {
	u.now = newSending(data, grants)
	err := u.raw.Control(u.sendNow)
	return u.now.n, errors.Join(err, u.now.err)
}

func (u *unixConn) push(data []byte, grants []grant) error {
	s := newSending(data, grants)
	return errors.Join(u.raw.Write(s.step), s.err)
}

// keep has descriptors of its own sent: the segment may be closed by then.
func (u *unixConn) keep(l *letter) error {
	if len(l.grants) == 0 {
		return nil
	}
	own := make([]grant, 0, len(l.grants))
	l.end = func(bool) {
		for _, g := range own {
			_ = unix.Close(int(g.handle))
		}
	}
	for _, g := range l.grants {
		fd, err := unix.FcntlInt(g.handle, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("keep a descriptor for a companion that doesn't read: %w", err)
		}
		own = append(own, grant{uintptr(fd), g.rights})
	}
	l.grants = own
	return nil
}

func (u *unixConn) close() error { return u.c.Close() }

func closeHandles(handles []uintptr) {
	for _, h := range handles {
		_ = unix.Close(int(h))
	}
}

func dialConn(ctx context.Context, endpoint string) (conn, int, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", endpoint)
	if nobodyThere(err) {
		return nil, 0, fmt.Errorf("%w: no engine listens there: %w", ErrPeer, err)
	}
	if err != nil {
		return nil, 0, err
	}
	uc := c.(*net.UnixConn)
	pid, err := checkPeer(uc)
	if err != nil {
		_ = c.Close()
		return nil, 0, err
	}
	u, err := newUnixConn(uc)
	return u, pid, err
}

// nobodyThere: an engine that ends takes its socket away, one that is killed leaves it.
func nobodyThere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOTSOCK)
}

// checkPeer refuses a process of another user.
func checkPeer(c *net.UnixConn) (pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	uid := -1
	if ctlErr := raw.Control(func(fd uintptr) { uid, pid, err = peerOf(int(fd)) }); ctlErr != nil {
		return 0, ctlErr
	}
	if err != nil {
		return 0, fmt.Errorf("ask who is at the other end of the socket: %w", err)
	}
	if uid != os.Getuid() {
		return 0, fmt.Errorf("%w: the other end of the socket belongs to uid %d, not to uid %d", ErrRefused, uid, os.Getuid())
	}
	return pid, nil
}

// listener accepts companions on a socket in the runtime directory.
type listener struct {
	l    *net.UnixListener
	path string
	own  os.FileInfo // of the socket: another engine's may bear its name by the end
}

// endpointIn is where the engine of a session listens.
func endpointIn(s session.Session) (string, error) {
	dir, err := s.RuntimeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "engine.sock"), nil
}

// listen replaces a socket that a dead engine left behind, and never a living one's.
func listen(path string) (*listener, error) {
	if most := len(unix.RawSockaddrUnix{}.Path) - 1; len(path) > most {
		return nil, fmt.Errorf("the socket %s: %w: %d bytes, at most %d; next: let BERTH_RUNTIME name a directory with a shorter path",
			path, unix.ENAMETOOLONG, len(path), most)
	}
	free, err := lockDir(filepath.Dir(path)) // of two that start at once one would remove the other's
	if err != nil {
		return nil, err
	}
	defer free()
	if err := vacate(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	own, err := os.Lstat(path)
	if err = errors.Join(err, os.Chmod(path, 0o600)); err != nil {
		_ = l.Close()
		return nil, err
	}
	return &listener{l, path, own}, nil
}

// lockTime is how long those take at most, one after the other, who start at once.
const lockTime = 10 * time.Second

// lockDir keeps others out of here who want to listen in dir.
func lockDir(dir string) (free func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockTime)
	defer cancel()
	lock := flock.New(dir, flock.SetFlag(os.O_RDONLY))
	_, err = lock.TryLockContext(ctx, 5*time.Millisecond)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: a program has had it locked for %v; next: end that", unix.EADDRINUSE, lockTime)
	}
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: dir, Err: err}
	}
	return func() { _ = lock.Close() }, nil
}

// dyingTime is how long an engine that was killed may take to let go of its socket.
const dyingTime = time.Second

// vacate removes a socket behind which nobody is any more.
func vacate(path string) error {
	for deadline := time.Now().Add(dyingTime); ; {
		c, err := net.DialTimeout("unix", path, dyingTime)
		switch {
		case err == nil && endsBy(c, deadline):
			continue // it has died with this in its queue
		case err == nil || errors.Is(err, unix.EAGAIN): // or so many want to be let in
			return fmt.Errorf("the socket %s: %w: another engine of this session listens there; next: end that, or let BERTH_SESSION name another session",
				path, unix.EADDRINUSE)
		case !nobodyThere(err):
			return err
		}
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
}

// endsBy closes c, which a living engine would leave open for its hello.
func endsBy(c net.Conn, deadline time.Time) bool {
	defer c.Close()
	_ = c.SetReadDeadline(deadline)
	_, err := c.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func (l *listener) accept() (conn, peer, error) {
	c, err := l.l.AcceptUnix()
	if err != nil {
		return nil, peer{}, err
	}
	pid, err := checkPeer(c)
	if err != nil {
		_ = c.Close()
		return nil, peer{}, fmt.Errorf("%w: %w", errStranger, err)
	}
	p, err := watchProcess(c, pid)
	if err != nil {
		_ = c.Close()
		return nil, peer{}, fmt.Errorf("%w: %w", errStranger, err)
	}
	u, err := newUnixConn(c)
	if err != nil {
		return nil, peer{}, errors.Join(errStranger, err, p.release())
	}
	u.poor = true
	return u, p, nil
}

func (l *listener) endpoint() string { return l.path }

// close removes the socket first: while it is there nobody shall be refused.
func (l *listener) close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.own) {
		_ = os.Remove(l.path)
	}
	return l.l.Close()
}

// laneEvents is for systems whose lanes need kernel objects of their own.
func laneEvents() (own []uintptr, grants []grant, err error) { return nil, nil, nil }

// eventsFrom are those of them that came with a welcome.
func eventsFrom([]uintptr) []uintptr { return nil }
