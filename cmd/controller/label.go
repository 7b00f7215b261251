package main

import (
	"sync"

	"berth/control"
)

// label is the latest snapshot of a job, shared with the goroutine that draws.
type label struct {
	mu  sync.Mutex // guards job
	job control.Job
}

func (l *label) set(j control.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.job = j
}

func (l *label) get(text func(control.Job) string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return text(l.job)
}
