package ipc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"berth/internal/shm"
)

// cacheService is the engine's own service behind Retain, Fetch, Forget and Cached.
const cacheService = ".cache"

const (
	// stallTime is how long a sender may pause while its payload is being retained: all
	// the while its memory is reserved.
	stallTime = 30 * time.Second
	// maxLent is how many fetched payloads a companion may hold.
	maxLent = 1024
)

// cacheRequest is the header of a session with the cache.
type cacheRequest struct {
	Op    string `json:"op"` // retain, fetch, forget, list
	Name  string `json:"name,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
}

// serveCache serves one request.
func (e *Engine) serveCache(ctx context.Context, s *Session) {
	var q cacheRequest
	var reply []byte
	why := &closing{closeRefused, "no such request"}
	if json.Unmarshal(s.Header(), &q) == nil {
		switch q.Op {
		case "retain":
			why = e.retain(ctx, s, q)
		case "fetch":
			if why = e.fetch(ctx, s, q.Name); why == nil {
				return
			}
		case "forget":
			if why = nil; !e.cache.forget(q.Name) {
				why = unknownName()
			}
		case "list":
			all, _ := e.cache.list()
			reply, _ = json.Marshal(all)
			why = nil
		}
	}
	if why == nil {
		why = because(s.SendBytes(ctx, reply))
	}
	if why != nil {
		_ = s.close(*why)
	}
}

func unknownName() *closing {
	return &closing{closeAddress, "nothing is kept under that name"}
}

// because makes an error the end of a session; nil of nil.
func because(err error) *closing {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoMemory):
		return &closing{closeMemory, clip(err.Error(), maxInline)}
	}
	return &closing{closeRefused, clip(err.Error(), maxInline)}
}

// retain copies a stream into a segment of its own and closes that to writers.
func (e *Engine) retain(ctx context.Context, s *Session, q cacheRequest) *closing {
	if !validName(q.Name) {
		return &closing{closeRefused, "a name has 1 to 64 of [a-zA-Z0-9._-]"}
	}
	if q.Bytes <= 0 {
		return &closing{closeRefused, "there is nothing to keep"}
	}
	if why := e.cache.reserve(q.Name, q.Bytes); why != nil {
		return why
	}
	seg, err := e.collect(ctx, s, int(q.Bytes))
	if err != nil {
		e.cache.unreserve(q.Bytes)
		return because(err)
	}
	e.cache.put(&keptPayload{Cached: Cached{Name: q.Name, Bytes: q.Bytes, Owner: s.Peer(), Since: time.Now()}, seg: seg})
	return nil
}

// collect fills a segment with the n bytes that s brings.
func (e *Engine) collect(ctx context.Context, s *Session, n int) (*shm.Segment, error) {
	seg, err := shm.NewSegment(n)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoMemory, err)
	}
	stall := time.AfterFunc(e.opts.stall, func() { _ = s.Fail("the sender has stopped") })
	defer stall.Stop()
	r := s.Reader(ctx)
	defer r.Close()
	if _, err = io.ReadFull(&livelyReader{r, stall, e.opts.stall}, seg.Bytes()[:n]); err == nil {
		if extra, end := r.Read(make([]byte, 1)); extra > 0 || !errors.Is(end, io.EOF) {
			err = errors.New("more bytes than were announced")
		}
	}
	if err == nil {
		if err = seg.Freeze(); errors.Is(err, shm.ErrUnsupported) {
			err = nil // readers get a handle that can't write
		}
	}
	if err != nil {
		_ = seg.Close()
		return nil, err
	}
	return seg, nil
}

// livelyReader winds the clock with everything that comes.
type livelyReader struct {
	io.Reader
	stall *time.Timer
	time  time.Duration
}

func (r *livelyReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if n > 0 {
		r.stall.Reset(r.time)
	}
	return n, err
}

// fetch passes a kept segment to the companion that asks.
func (e *Engine) fetch(ctx context.Context, s *Session, name string) *closing {
	p := e.cache.lease(name)
	if p == nil {
		return unknownName()
	}
	if err := s.lend(ctx, p); err != nil {
		e.cache.unlease(p)
		return because(err)
	}
	return nil
}

// lend sends a kept segment, of which the caller has a lease: that is the receiver's then.
func (s *Session) lend(ctx context.Context, p *keptPayload) error {
	if err := s.takeCredit(ctx); err != nil {
		return err
	}
	l := s.l // whose mu is held
	defer l.mu.Unlock()
	if n := l.lent(); n >= maxLent {
		s.uncredit()
		return fmt.Errorf("%w: %d payloads are not released", ErrRefused, n)
	}
	r := newRecord(kindMessage, flagWhole, s.id, 0)
	l.postWhole(&r, p.seg, int(p.Bytes), passage{session: s.id, kept: p})
	return nil
}

// lent is how much the companion has fetched and not released. The caller holds mu.
func (l *link) lent() (n int) {
	for _, p := range l.passages {
		if p.kept != nil {
			n++
		}
	}
	return n
}

// dead: what it had fetched has one reader less.
func (m *member) dead(l *link, _ error) {
	l.mu.Lock()
	var kept []*keptPayload
	for number, p := range l.passages {
		if p.kept != nil {
			kept = append(kept, p.kept)
			delete(l.passages, number)
		}
	}
	l.mu.Unlock()
	for _, p := range kept {
		m.e.cache.unlease(p)
	}
}

// Retain has the engine keep b under name, for late companions and after this one
// is gone. An earlier payload of that name is replaced for those who fetch later.
// ErrNoMemory: it is larger than the cache, or too much of that is being read.
// ErrRefused: b is empty. ErrAddress: name is none.
//
// When the cache is full, what was retained or fetched least recently is forgotten
// first; nothing that somebody has fetched and not yet released is.
func (c *Client) Retain(ctx context.Context, name string, b []byte) error {
	if !validName(name) {
		return fmt.Errorf("%w: %q can't be kept: 1 to 64 of [a-zA-Z0-9._-]", ErrAddress, name)
	}
	header, err := json.Marshal(cacheRequest{"retain", name, int64(len(b))})
	if err != nil {
		return err
	}
	if _, err = c.Carry(ctx, cacheService, header, bytes.NewReader(b)); err != nil {
		return fmt.Errorf("retain %q: %w", name, err)
	}
	return nil
}

// Fetch answers what the engine keeps under name, in place and read-only; ErrAddress
// when there is nothing. The message must be released: until then it can't be evicted.
func (c *Client) Fetch(ctx context.Context, name string) (*Message, error) {
	return c.askCache(ctx, cacheRequest{Op: "fetch", Name: name})
}

// Forget has the engine drop what it keeps under name; ErrAddress when there is
// nothing. Who has fetched it keeps it until it is released.
func (c *Client) Forget(ctx context.Context, name string) error {
	m, err := c.askCache(ctx, cacheRequest{Op: "forget", Name: name})
	if err == nil {
		m.Release()
	}
	return err
}

// Cached lists what the engine keeps, by name.
func (c *Client) Cached(ctx context.Context) ([]Cached, error) {
	m, err := c.askCache(ctx, cacheRequest{Op: "list"})
	if err != nil {
		return nil, err
	}
	defer m.Release()
	b, err := m.clone()
	if err != nil {
		return nil, err
	}
	var all []Cached
	err = json.Unmarshal(b, &all)
	return all, err
}

func (c *Client) askCache(ctx context.Context, q cacheRequest) (*Message, error) {
	header, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	s, err := c.Open(ctx, Controller+"/"+cacheService, header)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	m, err := s.message(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", q.Op, q.Name, err)
	}
	return m, nil
}
