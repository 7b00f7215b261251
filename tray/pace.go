package tray

import "time"

// pace says how often the menu may change. Some panels (lxqt) never open a
// menu whose labels change more often than every five seconds or so.
type pace struct {
	slow    time.Duration // between changes that come by themselves
	quick   time.Duration // between changes that follow a click
	after   time.Duration // how long after a click changes count as following it
	busy    time.Duration // between looks whether an open menu is closed
	search  time.Duration // between looks for a desktop where none announces itself
	closing time.Duration // how long the library may take to leave
}

func usualPace() pace {
	return pace{
		slow: slowest, quick: 200 * time.Millisecond, after: 5 * time.Second, busy: 200 * time.Millisecond,
		search: 30 * time.Second, closing: 2 * time.Second,
	}
}

// pacer spaces the changes of a menu. It belongs to one goroutine.
type pacer struct {
	pace
	last    time.Time
	clicked time.Time
}

func (p *pacer) applied(now time.Time) { p.last = now }

// hurry notes a click: the person who made it wants to see its effect.
func (p *pacer) hurry(now time.Time) { p.clicked = now }

// wait is how long the next change has to wait.
func (p *pacer) wait(now time.Time) time.Duration {
	gap := p.slow
	if now.Sub(p.clicked) < p.after {
		gap = p.quick
	}
	return max(0, gap-now.Sub(p.last))
}
