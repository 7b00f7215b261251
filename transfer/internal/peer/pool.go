package peer

import (
	"context"
	"sync"
	"time"
)

// Idle connections: as many as a queue has in flight, and not longer than servers
// are content with.
const (
	maxIdle     = 16
	maxIdleTime = 30 * time.Second
	// untested is how long a connection needn't be asked whether it still lives.
	untested = time.Second
)

// Pool keeps idle connections, each used by one goroutine at a time. Its zero
// value is ready; it is safe for concurrent use.
type Pool[C interface{ Close() error }] struct {
	mu     sync.Mutex
	idle   []entry[C] // most recently used last
	closed bool
}

type entry[C any] struct {
	conn C
	used time.Time
}

// Get takes the connection used last; ok is false when there is none. One that
// has been idle for a while is stale: it may have died and has to be asked.
func (p *Pool[C]) Get() (c C, stale, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle) - 1
	if n < 0 {
		return c, false, false
	}
	e := p.idle[n]
	p.idle = p.idle[:n]
	return e.conn, time.Since(e.used) > untested, true
}

// Take answers a connection in good order: the last one used, or what dial makes.
func (p *Pool[C]) Take(ctx context.Context, alive func(C) bool, dial func(context.Context) (C, error)) (C, error) {
	for {
		c, stale, ok := p.Get()
		if !ok {
			return dial(ctx)
		}
		if !stale || alive(c) {
			return c, nil
		}
		_ = c.Close() // it is dead already
		if ctx.Err() != nil {
			return c, ctx.Err()
		}
	}
}

// Put keeps a connection in good order; those idle for long are closed, and so is
// this one when there are many or the pool is closed.
func (p *Pool[C]) Put(c C) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for len(p.idle) > 0 && (len(p.idle) >= maxIdle || now.Sub(p.idle[0].used) > maxIdleTime) {
		_ = p.idle[0].conn.Close() // nothing is lost with an idle connection
		p.idle = p.idle[1:]
	}
	if p.closed {
		_ = c.Close()
		return
	}
	p.idle = append(p.idle, entry[C]{c, now})
}

// Close closes what is idle now and what is put back later.
func (p *Pool[C]) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, e := range p.idle {
		_ = e.conn.Close()
	}
	p.idle = nil
	return nil
}
