package ipc

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"berth/internal/shm"
)

// cacheService is the engine's own service behind Retain, Fetch, Forget and Cached.
const cacheService = ".cache"

// Cached describes a payload that the engine keeps under a name.
type Cached struct {
	Name  string    `json:"name"`
	Bytes int64     `json:"bytes"`
	Owner string    `json:"owner"` // the companion that retained it
	Since time.Time `json:"since"`
}

// cacheRequest is the header of a session with the cache.
type cacheRequest struct {
	Op    string `json:"op"` // retain, fetch, forget, list
	Name  string `json:"name,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
}

// cache keeps payloads in segments that nobody can write to any more. They outlive
// their senders and are passed to whoever asks, by location. What was used least
// recently goes first when the budget is spent; who has fetched it keeps it.
type cache struct {
	budget int64

	mu   sync.Mutex
	used int64
	kept map[string]*keptPayload
}

type keptPayload struct {
	Cached
	seg  *shm.Segment
	last time.Time
}

// put stores p, evicting what it must.
func (c *cache) put(p *keptPayload) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.Bytes > c.budget {
		return fmt.Errorf("%w: %d bytes in a cache of %d", ErrTooLarge, p.Bytes, c.budget)
	}
	c.drop(p.Name)
	for c.used+p.Bytes > c.budget {
		c.drop(c.oldest())
	}
	p.last = time.Now()
	c.kept[p.Name] = p
	c.used += p.Bytes
	return nil
}

func (c *cache) oldest() string {
	var old *keptPayload
	for _, p := range c.kept {
		if old == nil || p.last.Before(old.last) {
			old = p
		}
	}
	return old.Name
}

// drop forgets a payload. The caller holds mu.
func (c *cache) drop(name string) bool {
	p := c.kept[name]
	if p == nil {
		return false
	}
	delete(c.kept, name)
	c.used -= p.Bytes
	_ = p.seg.Close()
	return true
}

func (c *cache) list() []Cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := []Cached{}
	for _, p := range c.kept {
		all = append(all, p.Cached)
	}
	slices.SortFunc(all, func(a, b Cached) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.kept {
		c.drop(name)
	}
}

// Cached lists what the engine keeps, by name.
func (e *Engine) Cached() []Cached { return e.cache.list() }

// serveCache serves one request.
func (e *Engine) serveCache(ctx context.Context, s *Session) {
	var q cacheRequest
	err := json.Unmarshal(s.Header(), &q)
	switch {
	case err != nil:
	case q.Op == "retain":
		err = e.retain(ctx, s, q)
	case q.Op == "fetch":
		err = e.fetch(ctx, s, q.Name)
	case q.Op == "forget":
		e.cache.mu.Lock()
		found := e.cache.drop(q.Name)
		e.cache.mu.Unlock()
		if !found {
			err = errUnknownName
			break
		}
		err = s.SendBytes(ctx, nil)
	case q.Op == "list":
		var b []byte
		if b, err = json.Marshal(e.cache.list()); err == nil {
			err = s.SendBytes(ctx, b)
		}
	default:
		err = errors.New("no such request")
	}
	switch {
	case errors.Is(err, errUnknownName):
		_ = s.close(closing{closeAddress, err.Error()})
	case errors.Is(err, ErrNoMemory), errors.Is(err, ErrTooLarge):
		_ = s.close(closing{closeMemory, clip(err.Error(), maxInline)})
	case err != nil:
		_ = s.Fail(err.Error())
	}
}

var errUnknownName = errors.New("nothing is kept under that name")

// retain copies a stream into a segment of its own and closes that to writers.
func (e *Engine) retain(ctx context.Context, s *Session, q cacheRequest) error {
	if !validName(q.Name) || q.Bytes <= 0 || q.Bytes > e.cache.budget {
		return fmt.Errorf("%w: %d bytes in a cache of %d", ErrTooLarge, q.Bytes, e.cache.budget)
	}
	seg, err := shm.NewSegment(int(q.Bytes))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoMemory, err)
	}
	if _, err = io.ReadFull(s.Reader(ctx), seg.Bytes()[:q.Bytes]); err == nil {
		if err = seg.Freeze(); errors.Is(err, shm.ErrUnsupported) {
			err = nil // readers get a handle that can't write
		}
	}
	if err == nil {
		err = e.cache.put(&keptPayload{Cached: Cached{q.Name, q.Bytes, s.Peer(), time.Now()}, seg: seg})
	}
	if err != nil {
		_ = seg.Close()
		return err
	}
	return s.SendBytes(ctx, nil)
}

// fetch passes a kept segment to the companion that asks.
func (e *Engine) fetch(ctx context.Context, s *Session, name string) error {
	e.cache.mu.Lock()
	p := e.cache.kept[name]
	if p == nil {
		e.cache.mu.Unlock()
		return errUnknownName
	}
	p.last = time.Now()
	m := s.l.host.(*member)
	way := m.lend(s)
	// Under the cache's mutex: it keeps the handle open until it has been passed.
	err := m.link.tell(frameExtent, extentFrame{way.number, passed, uint64(p.seg.Size())}.encode(), shareRead(p.seg))
	e.cache.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-way.mapped:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := s.takeCredit(ctx); err != nil {
		return err
	}
	r := newRecord(kindMessage, flagWhole, s.id, 0)
	r.setLocation(location{way.number, 1, 0, uint64(p.Bytes)})
	way.state = passagePosted
	s.l.mu.Unlock()
	return s.l.send(ctx, &r)
}

// lend prepares a passage that is on nobody's account.
func (m *member) lend(s *Session) *passage {
	m.mu.Lock()
	m.next++
	p := &passage{number: m.next, session: s.id, mapped: make(chan struct{})}
	m.mu.Unlock()
	m.link.mu.Lock()
	m.link.passages[p.number] = p
	m.link.mu.Unlock()
	return p
}

// Retain has the engine keep b under name, for late companions and after this one
// is gone. An earlier payload of that name is replaced for those who fetch later.
func (c *Client) Retain(ctx context.Context, name string, b []byte) error {
	if !validName(name) {
		return fmt.Errorf("%w: %q can't be kept: 1 to 64 of [a-zA-Z0-9._-]", ErrAddress, name)
	}
	header, err := json.Marshal(cacheRequest{"retain", name, int64(len(b))})
	if err != nil {
		return err
	}
	_, err = c.Carry(ctx, cacheService, header, bytes.NewReader(b))
	return err
}

// Fetch answers what the engine keeps under name, in place and read-only; ErrAddress
// when there is nothing. The message must be released.
func (c *Client) Fetch(ctx context.Context, name string) (*Message, error) {
	return c.askCache(ctx, cacheRequest{Op: "fetch", Name: name})
}

// Forget has the engine drop what it keeps under name.
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
	var all []Cached
	err = json.Unmarshal(bytes.Clone(m.Bytes()), &all)
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
	return s.Recv(ctx)
}
