package ipc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/windows"

	"berth/session"
)

const (
	pipePrefix = `\\.\pipe\berth-`
	pipeBuffer = 64 << 10
	// lingerTime is how long the end of a stream waits for its last frames to be taken.
	lingerTime = 100 * time.Millisecond
)

// pipeConn is a control stream over a named pipe.
type pipeConn struct {
	*outbox
	f      *os.File
	engine bool            // which end this is
	head   [frameHead]byte // of the reader

	// mu is held for reading by who passes handles to the companion or takes them
	// back: a handle of another process could get the number of one that is closed.
	mu     sync.RWMutex
	target windows.Handle // the companion's process; 0 in a companion, and once it was released
}

func newPipeConn(f *os.File, target windows.Handle) *pipeConn {
	p := &pipeConn{f: f, engine: target != 0, target: target}
	p.outbox = newOutbox(p, func() { _ = f.Close() })
	return p
}

func (p *pipeConn) read() (frame, error) {
	f, n, err := readFrame(p.f, &p.head)
	if err != nil || n == 0 {
		return f, err
	}
	if p.engine || len(f.body) < 8*n {
		return frame{}, fmt.Errorf("%w: %d handles in a frame of %d bytes", ErrProtocol, n, len(f.body))
	}
	rest := f.body[len(f.body)-8*n:]
	f.body = f.body[:len(f.body)-8*n]
	for i := range n {
		f.handles = append(f.handles, uintptr(le.Uint64(rest[8*i:])))
	}
	return f, nil
}

func (p *pipeConn) write(kind uint8, body []byte, grants ...grant) error {
	for i, g := range grants {
		h, err := p.give(g)
		if err != nil {
			p.takeBack(body[len(body)-8*i:])
			return err
		}
		body = le.AppendUint64(body, uint64(h))
	}
	head := encodeHead(kind, len(grants), len(body))
	given := body[len(body)-8*len(grants):]
	return p.post(letter{data: append(head[:], body...), end: func(sent bool) {
		if !sent {
			p.takeBack(given)
		}
	}})
}

// try sends nothing: there is no write to a pipe that is certain not to wait.
func (p *pipeConn) try([]byte, []grant) (int, error) { return 0, nil }

func (p *pipeConn) push(data []byte, _ []grant) error {
	_, err := p.f.Write(data)
	return err
}

// keep has nothing to do: the handles are the companion's already.
func (p *pipeConn) keep(*letter) error { return nil }

// give duplicates a handle into the companion with no more rights than it needs.
func (p *pipeConn) give(g grant) (h windows.Handle, err error) {
	access := map[rights]uint32{
		rightsWrite: windows.FILE_MAP_READ | windows.FILE_MAP_WRITE,
		rightsRead:  windows.FILE_MAP_READ,
		rightsEvent: windows.EVENT_MODIFY_STATE | windows.SYNCHRONIZE,
	}[g.rights]
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.target == 0 {
		return 0, os.ErrClosed
	}
	err = windows.DuplicateHandle(windows.CurrentProcess(), windows.Handle(g.handle), p.target, &h, access, false, 0)
	if err != nil {
		return 0, fmt.Errorf("pass a handle to the companion: %w", err)
	}
	return h, nil
}

// takeBack closes handles in the companion that it will never hear of.
func (p *pipeConn) takeBack(values []byte) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for ; len(values) >= 8 && p.target != 0; values = values[8:] {
		var h windows.Handle
		if windows.DuplicateHandle(p.target, windows.Handle(le.Uint64(values)), windows.CurrentProcess(), &h,
			0, false, windows.DUPLICATE_CLOSE_SOURCE|windows.DUPLICATE_SAME_ACCESS) == nil {
			_ = windows.CloseHandle(h)
		}
	}
}

// close lets the last frames out, if the peer takes them: one may be the reason.
func (p *pipeConn) close() error {
	p.linger()
	return p.f.Close()
}

func (p *pipeConn) linger() {
	if rest := p.drained(); rest != nil {
		select {
		case <-rest:
		case <-time.After(lingerTime):
		}
	}
}

// forget is for who is about to release the companion's process, after close: what
// was never delivered has been taken back, and nothing more is passed.
func (p *pipeConn) forget() {
	p.linger()
	p.mu.Lock()
	p.target = 0
	p.mu.Unlock()
}

func closeHandles(handles []uintptr) {
	for _, h := range handles {
		_ = windows.CloseHandle(windows.Handle(h))
	}
}

// dialConn opens the pipe; all instances are busy for a moment between two clients.
func dialConn(ctx context.Context, endpoint string) (conn, int, error) {
	if !strings.HasPrefix(endpoint, pipePrefix) {
		return nil, 0, fmt.Errorf("%w: %q is not the pipe of an engine", ErrAddress, endpoint)
	}
	name, err := windows.UTF16PtrFromString(endpoint)
	if err != nil {
		return nil, 0, err
	}
	for {
		h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
			windows.FILE_FLAG_OVERLAPPED|windows.SECURITY_SQOS_PRESENT|windows.SECURITY_IDENTIFICATION, 0)
		if err == nil {
			if err := checkOwner(h, endpoint); err != nil {
				return nil, 0, errors.Join(err, windows.CloseHandle(h))
			}
			var pid uint32
			_ = windows.GetNamedPipeServerProcessId(h, &pid)
			return newPipeConn(os.NewFile(uintptr(h), endpoint), 0), int(pid), nil
		}
		if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
			return nil, 0, fmt.Errorf("%w: no engine listens there: %w", ErrPeer, &os.PathError{Op: "open", Path: endpoint, Err: err})
		}
		if !errors.Is(err, windows.ERROR_PIPE_BUSY) {
			return nil, 0, &os.PathError{Op: "open", Path: endpoint, Err: err}
		}
		select {
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// thisUser is any session of this user's: their access lists are the same.
func thisUser() (session.Session, error) { return session.Named("any") }

// checkOwner refuses the pipe of another user: everybody can see its name, and take it
// once the engine has gone.
func checkOwner(pipe windows.Handle, endpoint string) error {
	s, err := thisUser()
	if err == nil {
		err = s.VerifyObject(pipe, endpoint)
	}
	if errors.Is(err, session.ErrUnsafe) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// listener makes one instance of the pipe after the other.
type listener struct {
	path string
	sa   *windows.SecurityAttributes
	once sync.Once

	mu     sync.Mutex         // held while accept waits
	stop   windows.Handle     // manual-reset event; 0 once the listener is closed
	next   windows.Handle     // the instance that waits for a client, 0 before the first
	coming windows.Overlapped // of that; on the heap, for the system writes to it and a stack may move

	deaths vigil // of the companions that it has let in
}

// endpointIn makes a name up: who has not read it from the port record can't guess it.
func endpointIn(session.Session) (string, error) {
	return pipePrefix + strings.ToLower(rand.Text()), nil
}

func listen(path string) (*listener, error) {
	s, err := thisUser()
	if err != nil {
		return nil, err
	}
	sa, err := s.SecurityAttributes()
	if err != nil {
		return nil, err
	}
	stop, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return nil, err
	}
	l := &listener{path: path, sa: sa, stop: stop}
	if l.next, err = l.instance(windows.FILE_FLAG_FIRST_PIPE_INSTANCE); err != nil {
		_ = windows.CloseHandle(stop)
		return nil, err
	}
	return l, nil
}

func (l *listener) instance(flags uint32) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(l.path)
	if err != nil {
		return 0, err
	}
	h, err := windows.CreateNamedPipe(name, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED|flags,
		windows.PIPE_TYPE_BYTE|windows.PIPE_REJECT_REMOTE_CLIENTS, windows.PIPE_UNLIMITED_INSTANCES,
		pipeBuffer, pipeBuffer, 0, l.sa)
	if err != nil {
		return 0, &os.PathError{Op: "create", Path: l.path, Err: err}
	}
	return h, nil
}

func (l *listener) accept() (conn, peer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop == 0 {
		return nil, peer{}, os.ErrClosed
	}
	if l.next == 0 {
		h, err := l.instance(0)
		if err != nil {
			return nil, peer{}, err
		}
		l.next = h
	}
	err := l.wait(l.next)
	if err != nil && !errors.Is(err, windows.ERROR_NO_DATA) {
		_ = windows.CloseHandle(l.next)
		l.next = 0
		return nil, peer{}, err
	}
	h, seen := l.next, now()
	// The next instance first: with none, a client that comes now would find no pipe.
	l.next, _ = l.instance(0)
	var pid uint32
	var w *ward
	if err == nil { // else it has hung up by now
		pid, w, err = l.client(h, seen)
	}
	if err != nil {
		_ = windows.CloseHandle(h)
		return nil, peer{}, fmt.Errorf("%w: %w", errStranger, err)
	}
	c := newPipeConn(os.NewFile(uintptr(h), l.path), w.process)
	return c, peer{pid: int(pid), wait: func() { <-w.over }, release: func() error {
		c.forget()
		return l.deaths.release(w)
	}}, nil
}

// wait returns when a client has connected to h or the listener was closed.
func (l *listener) wait(h windows.Handle) error {
	done, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(done) }()
	o := &l.coming
	*o = windows.Overlapped{HEvent: done}
	switch err := windows.ConnectNamedPipe(h, o); {
	case err == nil, errors.Is(err, windows.ERROR_PIPE_CONNECTED):
		return nil
	case !errors.Is(err, windows.ERROR_IO_PENDING):
		return err
	}
	n, err := windows.WaitForMultipleObjects([]windows.Handle{l.stop, done}, false, windows.INFINITE)
	if err != nil || n == windows.WAIT_OBJECT_0 {
		_ = windows.CancelIoEx(h, o)
		var ignored uint32
		_ = windows.GetOverlappedResult(h, o, &ignored, true)
		return errors.Join(err, os.ErrClosed)
	}
	var ignored uint32
	return windows.GetOverlappedResult(h, o, &ignored, true)
}

// client opens the process at the other end, in this terminal session only, and
// waits for its end: a child that inherited the pipe may hold it for longer.
func (l *listener) client(h windows.Handle, seen uint64) (pid uint32, w *ward, err error) {
	var its, ours uint32
	if err := windows.GetNamedPipeClientProcessId(h, &pid); err != nil {
		return 0, nil, err
	}
	if err := errors.Join(windows.ProcessIdToSessionId(pid, &its), windows.ProcessIdToSessionId(windows.GetCurrentProcessId(), &ours)); err != nil {
		return 0, nil, err
	}
	if its != ours {
		return 0, nil, fmt.Errorf("%w: process %d runs in session %d, not in %d", ErrRefused, pid, its, ours)
	}
	process, err := openClient(pid, seen)
	if err != nil {
		return 0, nil, err
	}
	if w, err = l.deaths.watch(process); err != nil {
		return 0, nil, errors.Join(err, windows.CloseHandle(process))
	}
	return pid, w, nil
}

func (l *listener) endpoint() string { return l.path }

func (l *listener) close() error {
	l.once.Do(func() {
		_ = windows.SetEvent(l.stop)
		l.mu.Lock() // accept has left
		defer l.mu.Unlock()
		if l.next != 0 {
			_ = windows.CloseHandle(l.next)
		}
		_ = windows.CloseHandle(l.stop)
		l.next, l.stop = 0, 0
	})
	return nil
}

// laneEvents makes the events that the two ends of a lane sleep on.
func laneEvents() (own []uintptr, grants []grant, err error) {
	up, err := windows.CreateEvent(nil, 0, 0, nil)
	if err != nil {
		return nil, nil, err
	}
	down, err := windows.CreateEvent(nil, 0, 0, nil)
	if err != nil {
		_ = windows.CloseHandle(up)
		return nil, nil, err
	}
	own = []uintptr{uintptr(up), uintptr(down)}
	return own, []grant{{own[0], rightsEvent}, {own[1], rightsEvent}}, nil
}

// eventsFrom are those of them that came with a welcome, the companion's own first.
func eventsFrom(handles []uintptr) []uintptr {
	slices.Reverse(handles)
	return handles
}
