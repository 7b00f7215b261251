package control

import (
	"container/list"
	"maps"
	"slices"
	"sync"
)

// crowd bounds the connections of the port. Anyone on the machine can open one,
// so those that have not proved anything yet share a small room, and when it is
// full the oldest of them goes: a stranger who hoards connections cannot keep
// the owner out, whose proof takes a few milliseconds.
type crowd struct {
	strangers int // room for connections that have proved nothing
	friends   int // room for those that have

	mu      sync.Mutex
	waiting *list.List // of *conn, oldest first
	place   map[*conn]*list.Element
	known   map[*conn]bool
}

func newCrowd(strangers, friends int) *crowd {
	return &crowd{
		strangers: strangers, friends: friends,
		waiting: list.New(), place: map[*conn]*list.Element{}, known: map[*conn]bool{},
	}
}

func (c *crowd) enter(n *conn) {
	c.mu.Lock()
	c.place[n] = c.waiting.PushBack(n)
	var oldest *conn
	if c.waiting.Len() > c.strangers {
		oldest = c.waiting.Front().Value.(*conn)
	}
	c.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close() // takes the lock itself, through leave
	}
}

// promote moves a connection that has proved itself out of the strangers' room;
// false means that there are too many.
func (c *crowd) promote(n *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known[n] {
		return true
	}
	e, here := c.place[n]
	if !here || len(c.known) >= c.friends {
		return false
	}
	c.waiting.Remove(e)
	delete(c.place, n)
	c.known[n] = true
	return true
}

func (c *crowd) leave(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, here := c.place[n]; here {
		c.waiting.Remove(e)
		delete(c.place, n)
	}
	delete(c.known, n)
}

// shut sends the strangers away, and from now on every newcomer.
func (c *crowd) shut() {
	c.mu.Lock()
	c.strangers = 0
	all := slices.Collect(maps.Keys(c.place))
	c.mu.Unlock()
	closeAll(all)
}

// disperse closes every connection.
func (c *crowd) disperse() {
	c.shut()
	c.mu.Lock()
	all := slices.Collect(maps.Keys(c.known))
	c.mu.Unlock()
	closeAll(all)
}

// closeAll runs without the crowd's lock, which each Close takes.
func closeAll(conns []*conn) {
	for _, n := range conns {
		_ = n.Close()
	}
}
