package portshare

import (
	"bytes"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/session"
)

// heapPlace is a record in ordinary memory, which the race detector sees.
type heapPlace struct{ shared *heapRecord }

type heapRecord struct {
	lock         sync.Mutex
	participants int
	words        [recordWords]uint32
	bell         sharedBell
	gone         bool
	grips        atomic.Int32
}

func (p *heapPlace) gate() (func(), error) {
	p.shared.lock.Lock()
	return p.shared.lock.Unlock, nil
}

func (p *heapPlace) check() error {
	if p.shared.gone {
		return ErrStale
	}
	return nil
}

func (p *heapPlace) leave(bool) (bool, error) {
	p.shared.participants--
	return p.shared.participants == 0, nil
}

func (p *heapPlace) close() error { return nil }

func (p *heapPlace) grip() (func() error, error) {
	p.shared.grips.Add(1)
	return func() error { p.shared.grips.Add(-1); return nil }, nil
}

func (p *heapPlace) gripped() bool { return p.shared.grips.Load() > 0 }

// sharedBell wakes goroutines in place of processes.
type sharedBell struct {
	mu   sync.Mutex
	cond sync.Cond
}

type heapBell struct {
	shared *sharedBell
	cell   cell
	closed bool
	ended  chan struct{}
}

func (b *heapBell) wait(seq uint32) bool {
	b.shared.mu.Lock()
	defer b.shared.mu.Unlock()
	for !b.closed {
		if _, now, _ := b.cell.load(); now != seq {
			return false
		}
		b.shared.cond.Wait()
	}
	close(b.ended)
	return true
}

func (b *heapBell) ring(uint32) {
	b.shared.mu.Lock()
	defer b.shared.mu.Unlock()
	b.shared.cond.Broadcast()
}

func (b *heapBell) close() {
	b.shared.mu.Lock()
	b.closed = true
	b.shared.cond.Broadcast()
	b.shared.mu.Unlock()
	<-b.ended
}

// maker makes one more participant of a test's record.
type maker struct {
	open func(opts ...Option) (*Record, error)
	// memory is the record's bytes, for tests that look or scribble.
	memory func(r *Record) cell
}

func (o maker) join(t *testing.T, opts ...Option) *Record {
	t.Helper()
	r, err := o.open(append(opts, wokenOnly)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func onHeap(t *testing.T) maker {
	s := here(t)
	shared := &heapRecord{}
	shared.bell.cond.L = &shared.bell.mu
	open := func(opts ...Option) (*Record, error) {
		p := &heapPlace{shared: shared}
		unlock, _ := p.gate()
		defer unlock()
		shared.participants++
		c := cell{words: &shared.words}
		b := &heapBell{shared: &shared.bell, cell: c, ended: make(chan struct{})}
		r, err := newRecord(s, "test", p, c, b, shared.participants == 1, opts)
		if err != nil {
			shared.participants--
		}
		return r, err
	}
	return maker{open: open, memory: func(r *Record) cell { return r.cell }}
}

func inSession(t *testing.T) maker {
	s := here(t)
	open := func(opts ...Option) (*Record, error) { return Join(s, "test", opts...) }
	return maker{open: open, memory: func(r *Record) cell { return r.cell }}
}

// here gives the test a session of its own.
func here(t testing.TB) session.Session {
	t.Helper()
	t.Setenv("BERTH_RUNTIME", filepath.Join(t.TempDir(), "run"))
	s, err := session.Current()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wokenOnly makes a participant that sleeps forever when it is not woken.
func wokenOnly(r *Record) { r.backstop = time.Hour }

// hasty makes a participant that does not wait for a holder to die.
func hasty(r *Record) { r.dyingPatience = 0 }

// as makes a participant that says it is another process.
func as(p process) Option { return func(r *Record) { r.me = p } }

func key(n byte) (k [32]byte) {
	copy(k[:], bytes.Repeat([]byte{n}, 32))
	return k
}

// serve makes r the controller, and returns what it published.
func serve(t *testing.T, r *Record, n byte) (net.Listener, Info) {
	t.Helper()
	ln, err := r.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	info, err := r.Publish("endpoint", key(n), key(n+1))
	if err != nil {
		t.Fatal(err)
	}
	return ln, info
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
