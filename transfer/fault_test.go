package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
)

// server is a file server in memory that can do everything wrong. A backend to
// it is made by mem or hashing.
type server struct {
	mu      sync.Mutex
	parts   map[Handle]*part
	files   map[string][]byte // committed, by object id
	written int64             // bytes accepted in all
	begun   int
	aborted int

	// Faults. Each is called, when set, at its moment; n is bytes.
	onBegin  func(o Object) error
	onOpen   func(o Object, h Handle) error
	onWrite  func(ctx context.Context, p *part, b []byte) (keep int, err error)
	onCommit func(o Object) error
	onAbort  func(o Object) error
	onHash   func(o Object) error
	offset   func(p *part) int64 // lies about the offset
	stiff    bool                // cannot rewind
	noHash   bool                // SHA256 answers ErrUnsupported
}

type part struct {
	object Object
	data   []byte
}

func newServer() *server {
	return &server{parts: map[Handle]*part{}, files: map[string][]byte{}}
}

// mem reads back; hashing offers checksums too.
type mem struct{ s *server }
type hashing struct{ mem }

func (m mem) Begin(ctx context.Context, o Object) (Handle, error) {
	s := m.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onBegin != nil {
		if err := s.onBegin(o); err != nil {
			return "", err
		}
	}
	s.begun++
	h := Handle(fmt.Sprintf("%s#%d", o.ID, s.begun))
	for old, p := range s.parts { // what a lost Begin left behind
		if p.object.ID == o.ID {
			delete(s.parts, old)
		}
	}
	s.parts[h] = &part{object: o}
	return h, ctx.Err()
}

func (m mem) Open(ctx context.Context, o Object, h Handle, limit int64) (Upload, error) {
	s := m.s
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.parts[h]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", h, ErrGone)
	}
	if s.onOpen != nil {
		if err := s.onOpen(o, h); err != nil {
			return nil, err
		}
	}
	if int64(len(p.data)) > limit && !s.stiff {
		p.data = p.data[:limit]
	}
	off := int64(len(p.data))
	if s.offset != nil {
		off = s.offset(p)
	}
	return &memUpload{s, ctx, p, off}, nil
}

func (m mem) Commit(ctx context.Context, o Object, h Handle) error {
	s := m.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onCommit != nil {
		if err := s.onCommit(o); err != nil {
			return err
		}
	}
	if p, ok := s.parts[h]; ok {
		s.files[o.ID] = p.data
		delete(s.parts, h)
	}
	if _, ok := s.files[o.ID]; !ok {
		return ErrGone
	}
	return ctx.Err()
}

func (m mem) Abort(_ context.Context, o Object, h Handle) error {
	s := m.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onAbort != nil {
		if err := s.onAbort(o); err != nil {
			return err
		}
	}
	s.aborted++
	for h, p := range s.parts {
		if p.object.ID == o.ID {
			delete(s.parts, h)
		}
	}
	delete(s.files, o.ID)
	return nil
}

func (m mem) Link(o Object, _ Handle) (string, bool) { return "mem://server/" + o.ID, true }

func (m mem) ReadAt(_ context.Context, o Object, h Handle, offset, n int64) (io.ReadCloser, error) {
	data := m.s.held(o, h)
	return io.NopCloser(bytes.NewReader(data[min(offset, int64(len(data))):min(offset+n, int64(len(data)))])), nil
}

func (m hashing) SHA256(_ context.Context, o Object, h Handle, n int64) ([32]byte, error) {
	m.s.mu.Lock()
	onHash, noHash := m.s.onHash, m.s.noHash
	m.s.mu.Unlock()
	if noHash {
		return [32]byte{}, errors.ErrUnsupported
	}
	if onHash != nil {
		if err := onHash(o); err != nil {
			return [32]byte{}, err
		}
	}
	data := m.s.held(o, h)
	return sha256.Sum256(data[:min(n, int64(len(data)))]), nil
}

func (s *server) held(o Object, h Handle) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.parts[h]; ok {
		return bytes.Clone(p.data)
	}
	return bytes.Clone(s.files[o.ID])
}

type memUpload struct {
	s   *server
	ctx context.Context
	p   *part
	off int64
}

func (u *memUpload) Offset() int64 { return u.off }
func (u *memUpload) Close() error  { return u.ctx.Err() }

func (u *memUpload) Write(b []byte) (int, error) {
	keep := len(b)
	var err error
	u.s.mu.Lock()
	onWrite := u.s.onWrite
	u.s.mu.Unlock()
	if onWrite != nil {
		keep, err = onWrite(u.ctx, u.p, b)
	}
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.p.data = append(u.p.data, b[:keep]...)
	u.s.written += int64(keep)
	if err == nil {
		err = u.ctx.Err()
	}
	return keep, err
}

// file answers what was committed under an object's id.
func (s *server) file(id string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.files[id]
	return b, ok
}

// empty reports that a server holds nothing at all.
func (s *server) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.parts)+len(s.files) == 0
}

// set changes faults while uploads run.
func (s *server) set(f func(*server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// open starts a queue that uploads to b for every destination.
func open(t testing.TB, dir string, b Backend, edit ...func(*Config)) *Queue {
	t.Helper()
	cfg := Config{Dir: dir, Backend: func(string) (Backend, error) { return b, nil }}
	for _, e := range edit {
		e(&cfg)
	}
	q, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { drain(t, q) })
	return q
}

func drain(t testing.TB, q *Queue) {
	t.Helper()
	if err := q.Drain(context.Background()); err != nil {
		t.Error("drain:", err)
	}
}

// await blocks until a job fulfils ok, by watching; the test's own deadline ends
// what never happens.
func await(t testing.TB, q *Queue, id string, ok func(Job) bool) Job {
	t.Helper()
	for e := range q.Watch(t.Context()) {
		if e.Kind == JobChanged && e.ID == id && ok(e.Job) {
			return e.Job
		}
	}
	t.Fatal("the watch ended early")
	return Job{}
}

func in(s State) func(Job) bool { return func(j Job) bool { return j.State == s } }

// await2 waits for a state and fails at once when the job fails instead.
func awaitDone(t testing.TB, q *Queue, id string) Job {
	t.Helper()
	j := await(t, q, id, func(j Job) bool { return j.State.final() })
	if j.State != Done {
		t.Fatalf("job is %s: %s", j.State, j.Error)
	}
	return j
}
