package ipc

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"berth/internal/shm"
)

// Cached describes a payload that the engine keeps under a name.
type Cached struct {
	Name    string    `json:"name"`
	Bytes   int64     `json:"bytes"`
	Owner   string    `json:"owner"` // the companion that retained it
	Since   time.Time `json:"since"`
	Readers int       `json:"readers"` // fetched and not yet released
}

// maxKept is how many payloads are kept at most: each takes a descriptor of the engine.
const maxKept = 1024

// cache keeps payloads in segments that nobody can write to any more. They outlive
// their senders and are passed to whoever asks, by location.
//
// The memory of a payload counts from before it is allocated until nobody can look
// at it any more. When the budget is spent, what was used least recently goes first
// (used: retained or fetched); what somebody has fetched and not released never
// goes. A payload that is forgotten, or replaced, while somebody reads it loses its
// name at once and its memory with the last reader.
type cache struct {
	budget int64

	mu      sync.Mutex
	used    int64 // kept, being retained, and nameless but still read
	pending int   // being retained
	clock   uint64
	kept    map[string]*keptPayload
}

type keptPayload struct {
	Cached
	seg      *shm.Segment
	last     uint64 // clock when it was last used
	nameless bool
}

func newCache(budget int64) *cache { return &cache{budget: budget, kept: map[string]*keptPayload{}} }

// cost is what n bytes take of the budget: memory comes in pages.
func cost(n int64) int64 {
	page := int64(os.Getpagesize())
	return (n + page - 1) / page * page
}

// reserve takes the memory for a payload of n bytes off the budget before any is
// allocated, evicting what it must, and nothing when that would not be enough. The
// payload that bears the name already goes last: it is still good if this one fails.
func (c *cache) reserve(name string, n int64) *closing {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n <= 0 || n > c.budget || cost(n) > c.budget {
		return &closing{closeMemory, fmt.Sprintf("%d bytes, the cache holds %d", n, c.budget)}
	}
	free, count := c.budget-c.used, len(c.kept)+c.pending
	for _, p := range c.kept {
		if p.Readers == 0 {
			free, count = free+cost(p.Bytes), count-1
		}
	}
	if cost(n) > free || count >= maxKept {
		return &closing{closeMemory, fmt.Sprintf("%d bytes, all but %d are being read", n, max(0, free))}
	}
	for c.used+cost(n) > c.budget || len(c.kept)+c.pending >= maxKept {
		c.drop(c.oldest(name))
	}
	c.used += cost(n)
	c.pending++
	return nil
}

// oldest is the payload to evict next; there is one.
func (c *cache) oldest(spare string) *keptPayload {
	old := c.kept[spare]
	if old != nil && old.Readers > 0 {
		old = nil
	}
	for name, p := range c.kept {
		if p.Readers == 0 && name != spare && (old == nil || old.Name == spare || p.last < old.last) {
			old = p
		}
	}
	return old
}

// unreserve gives a reservation back that was not used.
func (c *cache) unreserve(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used -= cost(n)
	c.pending--
}

// put stores what a reservation was made for.
func (c *cache) put(p *keptPayload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.kept[p.Name]; old != nil {
		c.drop(old)
	}
	c.clock++
	c.pending--
	p.last = c.clock
	c.kept[p.Name] = p
}

// drop takes a payload's name away. The caller holds mu.
func (c *cache) drop(p *keptPayload) {
	delete(c.kept, p.Name)
	p.nameless = true
	c.settle(p)
}

// settle frees a payload that has neither a name nor a reader. The caller holds mu.
func (c *cache) settle(p *keptPayload) {
	if p.nameless && p.Readers == 0 {
		c.used -= cost(p.Bytes)
		_ = p.seg.Close()
	}
}

// forget is drop by name; false when there is no such payload.
func (c *cache) forget(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.kept[name]
	if p != nil {
		c.drop(p)
	}
	return p != nil
}

// lease finds a payload and keeps it until unlease; nil when there is none.
func (c *cache) lease(name string) *keptPayload {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.kept[name]
	if p != nil {
		c.clock++
		p.last = c.clock
		p.Readers++
	}
	return p
}

func (c *cache) unlease(p *keptPayload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.Readers--
	c.settle(p)
}

// list describes what is kept, by name, and how much memory the cache takes.
func (c *cache) list() (all []Cached, used int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all = []Cached{}
	for _, p := range c.kept {
		all = append(all, p.Cached)
	}
	slices.SortFunc(all, func(a, b Cached) int { return cmp.Compare(a.Name, b.Name) })
	return all, c.used
}

// close forgets everything. There are no readers left.
func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.kept {
		c.drop(p)
	}
}

// Cached lists what the engine keeps, by name.
func (e *Engine) Cached() []Cached {
	all, _ := e.cache.list()
	return all
}
