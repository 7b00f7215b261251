package ipc

import (
	"runtime"
	"sort"
	"time"
)

// Stats is what an engine holds at one moment. Sizes are in bytes.
type Stats struct {
	Budget     int64
	Used       int64 // of the budget: the blocks of all companions
	Companions []CompanionStats
	Dropped    []Drop // the last companions that were dropped or not let in, oldest first
	Cached     []Cached

	CacheBudget int64
	CacheUsed   int64 // kept, being retained, and forgotten but still read
}

// CompanionStats is one companion in Stats.
type CompanionStats struct {
	Name        string
	PID         int
	State       string // "registering", "registered" or "leaving"
	Since       time.Time
	BlockBytes  int64
	UsedBytes   int64 // what the engine sees in use: its own half, and messages not yet released
	LargestFree int64 // longest free run of the engine's half
	Sessions    int
}

// Stats answers what the engine holds now, companions sorted by name.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	s := Stats{Budget: e.opts.Budget, Used: e.used, CacheBudget: e.opts.Cache, Dropped: append([]Drop(nil), e.dropped...)}
	members := make([]*member, 0, len(e.members))
	for _, m := range e.members {
		s.Companions = append(s.Companions, CompanionStats{
			Name: m.name, PID: m.peer.pid, State: "registering", Since: m.since, BlockBytes: m.bytes,
		})
		members = append(members, m)
	}
	e.mu.Unlock()
	s.Cached, s.CacheUsed = e.cache.list()
	for i, m := range members {
		if m.registered() {
			m.link.describe(&s.Companions[i])
		}
	}
	sort.Slice(s.Companions, func(i, j int) bool { return s.Companions[i].Name < s.Companions[j].Name })
	return s
}

// sight is what Stats shows of a lane.
type sight struct {
	used, largest int64
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
	}
}

func (l *link) glance() bool {
	if !l.mu.TryLock() {
		return false
	}
	defer l.mu.Unlock()
	if l.err == nil {
		_, used, largest := l.mem.usage()
		l.sighted.Store(&sight{int64(used + l.leased), int64(largest), len(l.sessions)})
	}
	return true
}
