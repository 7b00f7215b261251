package ipc

import "time"

// nap sleeps in the kernel until a record comes or c may be ready; not warm when it
// took too long, or when this system can't sleep so; not ok when it has lost the lead.
// Who never spins has no use for the time.
func (l *link) nap(c condition) (warm, ok bool) {
	l.rx.wake.Swap(asleep)
	ready, err := l.check(c)
	if ready || err != nil || l.ending.Load() || l.rx.ready() || l.short.Load() && l.hasRoom() {
		l.rx.wake.Swap(awake)
		return true, true
	}
	var start time.Time
	if !l.noSpin {
		start = time.Now()
	}
	n := l.beginNap()
	l.leader.Swap(yielding)
	can := l.bell.sleep()
	l.naps.Add(1)
	if !l.regain() {
		return false, false
	}
	l.rx.wake.Swap(awake)
	if !l.noSpin && l.rx.ready() {
		l.woken(start, time.Since(start))
	}
	return can && l.roused.Load() != n, true
}

// woken learns from a nap that began at start and ended with a record.
func (l *link) woken(start time.Time, took time.Duration) {
	if l.near.note(start, took) {
		leaveProcessor()
	}
	if took < hitTime {
		l.warm(2)
	}
}

// beginNap numbers a nap, odd while it lasts, and sees to it that it ends some day.
//
// The kernel could limit each sleep, but starts and stops a timer for that: a tenth of
// a round trip without spinning. Here one timer does for all naps of a lane; the limit
// that the engine's have besides (sleepLimit) is for those that no wake-up finds.
func (l *link) beginNap() uint32 {
	n := l.naps.Add(1)
	if l.rousing.Load() == 0 && l.rousing.CompareAndSwap(0, 1) {
		l.rouser.Reset(warmTime)
	}
	return n
}

// rouse is that timer. It ends the nap that lasts since its last look, whatever the
// other side has made of the wake word, and looks again: the leader may have been about
// to fall asleep. It stops when nobody sleeps; who begins a nap then counts first and
// looks for the timer after that, and here it is the other way round.
func (l *link) rouse() {
	n := l.naps.Load()
	switch {
	case n != l.napped:
		l.napped = n
	case n&1 != 0:
		l.roused.Store(n)
		l.wakeLeader()
	default:
		l.rousing.Swap(0)
		if l.naps.Load() == n || !l.rousing.CompareAndSwap(0, 1) {
			return
		}
	}
	l.rouser.Reset(warmTime)
}

// wakeLeader wakes who sleeps on the lane, if it is still there.
func (l *link) wakeLeader() {
	for n := l.users.Load(); n > 0; n = l.users.Load() {
		if l.users.CompareAndSwap(n, n+1) {
			l.bell.wakeSelf()
			l.leaveLane()
			return
		}
	}
}
