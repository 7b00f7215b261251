package control

import "time"

// Status describes the controller itself.
type Status struct {
	PID        int            `json:"pid"`
	Port       int            `json:"port"`
	Generation uint64         `json:"generation"`
	Session    string         `json:"session"`
	State      string         `json:"state"` // listening or draining
	Version    string         `json:"version"`
	Uptime     float64        `json:"uptime_seconds"`
	Companions []Companion    `json:"companions"`
	Memory     Memory         `json:"memory"`
	Drops      map[string]int `json:"drops"` // companions turned away or dropped since the start, by kind: protocol, version, name, quota, fault, broken
	LastDrop   *Drop          `json:"last_drop,omitempty"`
	Jobs       map[string]int `json:"jobs"` // how many in each state
}

// Companion is a process registered with the engine.
type Companion struct {
	Name             string  `json:"name"`
	PID              int     `json:"pid"`
	State            string  `json:"state"`       // registering, registered or leaving
	BlockBytes       int64   `json:"block_bytes"` // of the budget
	Extents          int     `json:"extents"`     // segments of the block
	UsedBytes        int64   `json:"used_bytes"`  // as far as the engine sees
	LargestFreeBytes int64   `json:"largest_free_bytes"`
	Fragmentation    float64 `json:"fragmentation"` // 0 none, towards 1 only small pieces are free
	CacheBytes       int64   `json:"cache_bytes"`   // retained under names
	Sessions         int     `json:"sessions"`
}

// Memory is the shared memory of the whole session.
type Memory struct {
	BudgetBytes      int64   `json:"budget_bytes"` // for the blocks of all companions
	UsedBytes        int64   `json:"used_bytes"`
	CacheBudgetBytes int64   `json:"cache_budget_bytes"` // for retained payloads, beside that
	CacheBytes       int64   `json:"cache_bytes"`
	CachedPayloads   int     `json:"cached_payloads"`
	Waiting          int     `json:"waiting"` // companions that wait for room to register
	Denied           int     `json:"denied"`  // wishes for memory that could not be met, since the start
	LastDenied       *Denial `json:"last_denied,omitempty"`
}

// Denial is a wish for memory that could not be met.
type Denial struct {
	Name   string    `json:"name"`
	Bytes  int64     `json:"bytes"`
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
}

// Drop is a companion that was turned away or dropped.
type Drop struct {
	Kind   string    `json:"kind"` // protocol, version, name, quota, fault or broken
	Name   string    `json:"name"` // "" when it was refused before it had one
	PID    int       `json:"pid"`
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
}
