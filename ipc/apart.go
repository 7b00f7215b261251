package ipc

import "time"

const (
	// nearNap is shorter than it takes to wake who sleeps on another processor, and
	// longer than a switch from one thread of a processor to the next.
	nearNap  = 8 * time.Microsecond
	nearNaps = 8 // in a row
	// soonestApart is the least time between two moves; the most is 128 times that.
	soonestApart = 5 * time.Millisecond
	latestApart  = 128 * soonestApart
)

// nearness is what the leader knows about whether both ends of the lane share a
// processor. A system that takes its processors for busy puts who is woken beside who
// wakes it, and leaves it there: a switch for every message and an idle processor next
// to it, for milliseconds on end.
type nearness struct {
	naps  int
	next  time.Time // no move before
	pause time.Duration
}

// note takes down how long a sleep lasted that ended with a record, and says whether
// to move: when the sleeps have been so short that the waker can only have made room.
// Where both ends come together again at once, the other processors have something
// else to do: it is answered ever less often.
func (n *nearness) note(start time.Time, nap time.Duration) (move bool) {
	if nap >= nearNap {
		n.naps = 0
		return false
	}
	if n.naps++; n.naps < nearNaps || start.Before(n.next) {
		return false
	}
	n.naps = 0
	if n.pause = min(2*n.pause, latestApart); n.pause == 0 || start.After(n.next.Add(latestApart)) {
		n.pause = soonestApart
	}
	n.next = start.Add(n.pause)
	return true
}
