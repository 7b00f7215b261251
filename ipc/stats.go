package ipc

import (
	"cmp"
	"maps"
	"runtime"
	"slices"
	"time"
)

// Stats is what an engine holds at one moment. Sizes are in bytes.
type Stats struct {
	Budget     int64
	Used       int64 // of the budget: the blocks of all companions
	Waiting    int   // companions that wait for room to register
	Companions []CompanionStats

	Denied     int     // wishes for more memory that could not be met, since the start
	LastDenied *Denial // nil when there was none

	Drops   map[string]int // companions turned away or dropped since the start, by kind
	Dropped []Drop         // the last of them, oldest first

	CacheBudget int64
	CacheUsed   int64 // kept, being retained, and forgotten but still read
	Cached      []Cached
}

// CompanionStats is one companion in Stats.
type CompanionStats struct {
	Name       string
	PID        int
	State      string // "registering", "registered" or "leaving"
	Since      time.Time
	BlockBytes int64 // both halves: what it takes of the budget
	Extents    int   // segments of the block
	UsedBytes  int64 // what the engine sees in use: its own half, and messages not yet released
	CacheBytes int64 // retained by a companion of this name
	Sessions   int

	// Of the half that the engine allocates; the other one is the companion's secret.
	LargestFree   int64   // longest run that is free
	Fragmentation float64 // share of the free memory that lies outside its extent's longest free run, 0 to 1
}

// Denial is a wish for memory that could not be met.
type Denial struct {
	Name   string
	Bytes  int64
	Reason string
	At     time.Time
}

// ledger counts what the engine had to refuse. It is guarded by the engine's mu.
type ledger struct {
	waiting int
	denied  int
	denial  *Denial
	drops   map[string]int // by kind
}

// noteDenial remembers a wish for n bytes that was not met.
func (e *Engine) noteDenial(m *member, n int, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ledger.denied++
	e.ledger.denial = &Denial{Name: m.name, Bytes: int64(n), Reason: why.Error(), At: time.Now()}
}

// Stats answers what the engine holds now, companions sorted by name.
func (e *Engine) Stats() Stats {
	cached, cacheUsed := e.cache.list()
	kept := map[string]int64{}
	for _, p := range cached {
		kept[p.Owner] += p.Bytes
	}
	e.mu.Lock()
	s := Stats{
		Budget: e.opts.Budget, Used: e.used, Waiting: e.ledger.waiting,
		Denied: e.ledger.denied, LastDenied: e.ledger.denial,
		Drops: maps.Clone(e.ledger.drops), Dropped: slices.Clone(e.dropped),
		CacheBudget: e.opts.Cache, CacheUsed: cacheUsed, Cached: cached,
	}
	members := make([]*member, 0, len(e.members))
	for _, m := range e.members {
		s.Companions = append(s.Companions, CompanionStats{
			Name: m.name, PID: m.peer.pid, State: "registering", Since: m.since, BlockBytes: m.bytes, CacheBytes: kept[m.name],
		})
		members = append(members, m)
	}
	e.mu.Unlock()
	for i, m := range members {
		if m.registered() {
			m.link.describe(&s.Companions[i])
		}
	}
	slices.SortFunc(s.Companions, func(a, b CompanionStats) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// sight is what Stats shows of a lane.
type sight struct {
	used, largest int64
	fragmentation float64
	extents       int
	sessions      int
}

// describe never waits: who asks for figures must not stand in line behind those who
// work, on a machine where the one that holds mu may have no processor. The figures
// of a lane that is being worked on are those of the last look at it.
func (l *link) describe(c *CompanionStats) {
	for range 4 {
		if l.glance() {
			break
		}
		runtime.Gosched()
	}
	c.State = "registered"
	select {
	case <-l.done:
		c.State = "leaving"
		return
	default:
	}
	if s := l.sighted.Load(); s != nil {
		c.UsedBytes, c.LargestFree, c.Sessions = s.used, s.largest, s.sessions
		c.Extents, c.Fragmentation = s.extents, s.fragmentation
	}
}

func (l *link) glance() bool {
	if !l.mu.TryLock() {
		return false
	}
	defer l.mu.Unlock()
	if l.err == nil {
		u := l.mem.usage()
		l.sighted.Store(&sight{int64(u.used + l.leased), int64(u.largest), u.fragmentation(), len(l.mem.extents) + len(l.theirs), len(l.sessions)})
	}
	return true
}
