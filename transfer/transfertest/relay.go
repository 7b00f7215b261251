package transfertest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// Relay stands between a backend and its server. It can stop carrying bytes, as
// a network does whose cable is pulled, and cut every connection.
type Relay struct {
	mu      sync.Mutex
	moved   *sync.Cond // budget, stalled or closed changed
	conns   map[net.Conn]struct{}
	budget  int64 // bytes that may still go up; -1 is no bound
	stalled bool
	closed  bool
	up      int64
}

// NewRelay starts a relay that carries everything. It ends with t.
func NewRelay(t testing.TB) *Relay {
	r := &Relay{conns: map[net.Conn]struct{}{}, budget: -1}
	r.moved = sync.NewCond(&r.mu)
	t.Cleanup(func() {
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		r.Cut()
	})
	return r
}

// Over connects by dial, or over the network when it is nil, through the relay.
func (r *Relay) Over(dial Dial) Dial {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return r.dial(ctx, dial, network, addr)
	}
}

// dial puts a real TCP connection of its own before the one to the server, so
// that a stall fills real buffers.
func (r *Relay) dial(ctx context.Context, base Dial, network, addr string) (net.Conn, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	server, err := base(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	client, err := (&net.Dialer{}).DialContext(ctx, "tcp4", l.Addr().String())
	if err != nil {
		server.Close()
		return nil, err
	}
	near, err := l.Accept()
	if err != nil {
		server.Close()
		client.Close()
		return nil, err
	}
	r.join(near, server)
	return client, nil
}

func (r *Relay) join(near, far net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		near.Close()
		far.Close()
		return
	}
	r.conns[near], r.conns[far] = struct{}{}, struct{}{}
	go r.carry(far, near, true)
	go r.carry(near, far, false)
}

// carry moves bytes one way until either side ends. The end of one direction is
// passed on, so that the far side still reads what was sent before it.
func (r *Relay) carry(to, from net.Conn, up bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		sent, cut := r.pass(to, buf[:n], up)
		if err == nil && sent && !cut {
			continue
		}
		if cut {
			r.Cut()
		} else if errors.Is(err, io.EOF) && sent && closeWrite(to) {
			return
		}
		r.drop(to, from)
		return
	}
}

func closeWrite(c net.Conn) bool {
	t, ok := c.(interface{ CloseWrite() error })
	return ok && t.CloseWrite() == nil
}

// pass waits out a stall and writes as much as the budget allows.
func (r *Relay) pass(to net.Conn, p []byte, up bool) (sent, cut bool) {
	r.mu.Lock()
	for r.stalled && !r.closed && r.has(to) {
		r.moved.Wait()
	}
	if !r.has(to) {
		r.mu.Unlock()
		return false, false
	}
	if up {
		if r.budget >= 0 && int64(len(p)) >= r.budget {
			p, cut, r.budget = p[:r.budget], true, -1
		} else if r.budget >= 0 {
			r.budget -= int64(len(p))
		}
		r.up += int64(len(p))
	}
	r.mu.Unlock()
	_, err := to.Write(p)
	return err == nil, cut
}

func (r *Relay) has(c net.Conn) bool {
	_, ok := r.conns[c]
	return ok
}

func (r *Relay) drop(cs ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range cs {
		c.Close()
		delete(r.conns, c)
	}
	r.moved.Broadcast()
}

// Cut closes every connection, both ways. New ones work.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
	clear(r.conns)
	r.moved.Broadcast()
}

// CutAfter cuts every connection once n more bytes went up.
func (r *Relay) CutAfter(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.budget = n
}

// Stall stops carrying bytes, both ways, on old and new connections.
func (r *Relay) Stall() { r.setStalled(true) }

// Resume carries again.
func (r *Relay) Resume() { r.setStalled(false) }

func (r *Relay) setStalled(v bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stalled = v
	r.moved.Broadcast()
}

// Up is how many bytes went to servers.
func (r *Relay) Up() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up
}
