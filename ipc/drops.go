package ipc

import (
	"errors"
	"time"
)

// maxDrops is how many of them an engine remembers.
const maxDrops = 64

// Drop says why the engine let a companion go, or did not let it in. A companion
// that leaves or dies is none.
type Drop struct {
	Name string // what it said it was called; empty when it said nothing
	PID  int
	// Kind is "protocol" (it broke a rule), "fault" (memory shared with it vanished),
	// "version" (built with another layout), "name" (taken, or not to be had), "quota"
	// (the engine has no more for it) or "broken" (the engine could not make what it needs).
	Kind   string
	Reason string
	At     time.Time
}

// note remembers why m goes, if it is the engine's doing. The caller holds mu.
func (e *Engine) note(m *member, why error) {
	kind := kindOfDrop(why)
	if kind == "" {
		return
	}
	if e.ledger.drops == nil {
		e.ledger.drops = map[string]int{}
	}
	e.ledger.drops[kind]++
	e.dropped = append(e.dropped, Drop{Name: m.claim, PID: m.peer.pid, Kind: kind, Reason: why.Error(), At: time.Now()})
	if len(e.dropped) > maxDrops {
		e.dropped = e.dropped[1:]
	}
}

func kindOfDrop(why error) string {
	var refused *refusedError
	switch {
	case errors.As(why, &refused):
		return [...]string{refuseVersion: "version", refuseName: "name", refuseQuota: "quota", refuseBroken: "broken"}[refused.code]
	case errors.Is(why, ErrFault):
		return "fault"
	case errors.Is(why, ErrProtocol):
		return "protocol"
	case errors.Is(why, ErrPeer), errors.Is(why, ErrClosed), errors.Is(why, ErrRefused): // it went, the engine ends, it hung up
		return ""
	}
	return "broken"
}
