package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"regexp"
	"sync"
	"time"

	"berth/ipc"
)

// journal is the log of an engine, as the swarm reads it: when a companion was
// gone with all it had, and which of them were dropped for what reason. The
// engine's own goroutine writes it, so that no time passes until a watcher runs.
type journal struct {
	digits *regexp.Regexp

	mu    sync.Mutex
	left  map[int]departure
	drops map[int]map[string]int // by process, then by reason
}

// departure is what the engine has told of a process's companions.
type departure struct {
	count int       // companions that have left
	last  time.Time // when the last of them was gone
}

func newJournal() *journal {
	return &journal{digits: regexp.MustCompile(`0x[0-9a-f]+|[0-9]+`), left: map[int]departure{}, drops: map[int]map[string]int{}}
}

// Enabled implements [slog.Handler].
func (*journal) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements [slog.Handler]; the engine adds none.
func (j *journal) WithAttrs([]slog.Attr) slog.Handler { return j }

// WithGroup implements [slog.Handler]; the engine has none.
func (j *journal) WithGroup(string) slog.Handler { return j }

// Handle implements [slog.Handler].
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "a companion left" {
		return nil
	}
	now := time.Now()
	pid, name, reason := 0, "", error(nil)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "pid":
			pid = int(a.Value.Int64())
		case "name":
			name = a.Value.String()
		case "reason":
			reason, _ = a.Value.Any().(error)
		}
		return true
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	if name != "" {
		j.left[pid] = departure{j.left[pid].count + 1, now}
	}
	if errors.Is(reason, ipc.ErrProtocol) {
		if j.drops[pid] == nil {
			j.drops[pid] = map[string]int{}
		}
		j.drops[pid][j.shape(reason.Error())]++
	}
	return nil
}

// shape is a reason without its figures, so that equal ones can be counted.
func (j *journal) shape(reason string) string {
	reason = j.digits.ReplaceAllString(reason, "#")
	return reason[:min(len(reason), 160)]
}

func (j *journal) departed(pid int) departure {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.left[pid]
}

// forget makes room: numbers of processes come again.
func (j *journal) forget(pid int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.left, pid)
}

// dropped says why companions of a process were dropped so far, and how often.
func (j *journal) dropped(pid int) map[string]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := map[string]int{}
	maps.Copy(all, j.drops[pid])
	return all
}
