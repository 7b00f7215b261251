package ipc

import (
	"context"
	"runtime/debug"
	"time"
)

// condition is what a goroutine waits for; ready is called with the link's mu held.
type condition interface{ ready() bool }

// batch is how many records the leader handles before it looks whether it has
// what it came for.
const batch = 64

// await returns when c is ready (nil), ctx ends, or the link is dead. ch is told
// when c may have become ready.
func (l *link) await(ctx context.Context, c condition, ch <-chan struct{}) error {
	l.waiters.Add(1)
	defer l.waiters.Add(-1)
	for {
		if l.takeLead() {
			l.self = 1
			if over, err := l.lead(ctx, c); over {
				return err
			}
		}
		if ready, err := l.check(c); ready || err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case <-ch:
		case <-ctx.Done():
		case <-l.done:
		}
	}
}

// check asks c first: what was delivered before the end still counts.
func (l *link) check(c condition) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.ready() {
		return true, nil
	}
	return false, l.err
}

// States of leader. Who takes a lane down may take the lead from a yielding one: on
// a busy machine that one may not run again for a long time. Who was yielding looks
// at nothing of the lane before it has found that it still leads, and the lane stays
// until it has.
const (
	leaderless = iota
	leading
	yielding
)

func (l *link) takeLead() bool { return l.leader.CompareAndSwap(leaderless, leading) }

// regain is the end of yielding; false when the lead is lost.
func (l *link) regain() bool {
	if l.leader.CompareAndSwap(yielding, leading) {
		return true
	}
	l.leaveLane()
	return false
}

// depose takes the lead from a leader that is yielding. The lane has one user more
// until that one has noticed.
func (l *link) depose() bool {
	l.users.Add(1)
	if l.leader.CompareAndSwap(yielding, leading) {
		l.self = 0
		return true
	}
	l.users.Add(-1)
	return false
}

// leaveLane gives the lane back with its last user.
func (l *link) leaveLane() {
	if l.users.Add(-1) == 0 {
		_ = l.bell.close()
		_ = l.lane.Close()
	}
}

// lead handles records until c is ready, ctx ended or the link is dead (true), or
// until it is not worth a thread any more (false). The caller has taken the lead,
// and has lost it afterwards; it must check c once more after false.
func (l *link) lead(ctx context.Context, c condition) (over bool, err error) {
	defer l.rescue(debug.SetPanicOnFault(true), false)
	l.disarm()
	if l.rx.ready() { // a wait of no time at all
		l.warm(1)
	}
	for {
		ready, err := l.pumpFor(c)
		if !ready && err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if ready || err != nil || l.ending.Load() {
			l.leave()
			return ready || err != nil, err
		}
		if l.rx.ready() {
			continue
		}
		l.settle()
		if l.spin() {
			continue
		}
		if warm, ok := l.nap(c); !ok {
			return false, nil // the lane is being taken down
		} else if !warm {
			l.leaveArmed()
			return false, nil
		}
	}
}

// pump handles what lies in the ring, at most one batch.
func (l *link) pump() { _, _ = l.pumpFor(nil) }

// pumpFor is pump, and check for c where there is one. All of it under one lock: a
// lock for each step would be a tenth of a round trip.
func (l *link) pumpFor(c condition) (ready bool, err error) {
	l.mu.Lock()
	n, breach := l.handleBatch()
	if c != nil && breach == nil {
		if ready = c.ready(); !ready { // what was delivered before the end still counts
			err = l.err
		}
	}
	l.mu.Unlock()
	if breach != nil {
		l.breach(breach)
	}
	l.pumpedSome(n)
	if breach != nil && c != nil {
		return l.check(c)
	}
	return ready, err
}

// handleBatch copies records and handles them until one breaks the protocol. The
// caller holds mu.
func (l *link) handleBatch() (n int, err error) {
	l.dispatching = true
	for n < batch && l.err == nil && err == nil && l.rx.pop(&l.record) {
		n++
		err = l.handle(&l.record)
	}
	l.dispatching = false
	return n, err
}

// pumpedSome does what is due after n records.
func (l *link) pumpedSome(n int) {
	if n > 0 {
		l.pumped.Add(uint64(n))
		if l.rx.advance() {
			l.act(l.tx.wake.Swap(awake))
		}
		if len(l.stirred) > 0 { // only the leader adds to it
			l.runStirred()
		}
	}
	if l.short.Load() {
		l.flush()
	}
}

// looks is how often a spinner looks between two looks at the clock: for about a
// microsecond, in which most of its hits come.
const looks = 600

// spin looks at the ring for a short while, if that was worth it the last time.
//
// It must not yield the processor: the scheduler of Linux takes the rest of a turn
// from who yields (1.4 ms by default), and on a busy machine who has none left waits
// until the one that it was given to has used it up. A hit that took long is none:
// there are others who need the processor more, and who sleeps in the kernel is woken
// before its turn.
func (l *link) spin() (hit bool) {
	if l.heat == 0 {
		return false
	}
	var start time.Time
	for i := 1; ; i++ {
		if l.rx.ready() || l.short.Load() && l.hasRoom() {
			l.heat, l.misses = min(l.heat+1, 8), max(l.misses-1, 0)
			if !start.IsZero() && time.Since(start) > hitTime {
				l.chill()
			}
			return true
		}
		switch {
		case i%looks != 0:
		case start.IsZero():
			start = time.Now()
		case l.ending.Load() || time.Since(start) > spinTime:
			l.chill()
			return false
		}
	}
}

// chill ends the spinning for now, and for the longer the more often that was in
// vain: a peer that has to wait for this very processor never answers a spinner, and
// always answers who sleeps.
func (l *link) chill() {
	l.heat = 0
	l.misses = min(l.misses+1, mostMisses)
	l.cold = 1<<(l.misses/2) - 1
}

// warm says that a wait was so short that a spin would have been worth it.
func (l *link) warm(heat int) {
	switch {
	case l.noSpin:
	case l.cold > 0:
		l.cold--
	default:
		l.heat = max(l.heat, heat)
	}
}

const mostMisses = 8

func (l *link) hasRoom() bool {
	room, err := l.knownRoom()
	return err != nil || room > 0
}

func (l *link) knownRoom() (room uint32, err error) {
	l.txMu.Lock()
	defer l.txDone(debug.SetPanicOnFault(true), &err)
	return l.tx.room()
}

// leave gives up the lead: a lane that was just of use is left as it is, for this
// goroutine will be back at once, and the timer sees to it if it isn't. A doorbell
// for each record that comes meanwhile costs both sides far more: streams of 1 MiB
// messages at 9 GB/s instead of 16. On a lane that is not hot those who wait beside
// this goroutine shall not wait for the timer.
func (l *link) leave() {
	if l.ending.Load() || l.heat == 0 && (l.waiters.Load() > l.self || l.relayed.Load() > 0) {
		l.leaveArmed()
		return
	}
	l.unlead()
	l.keepWatch()
}

// rounds is how many batches somebody handles who would leave.
const rounds = 16

// leaveArmed gives up the lead with the lane armed for a doorbell, so that the
// next record finds somebody. To a ring that is never empty somebody else is called: who
// leaves may have what it waited for, or nobody to wait for it any more.
//
// A doorbell that comes while this goroutine still leads finds nobody to take the
// lead; it leaves a note in rung. The note is written before the lead is tried, and
// read here after the lead is given up: one of the two sees the other.
func (l *link) leaveArmed() {
	for n := 0; ; n++ {
		if !l.ending.Load() {
			l.arm()
			if l.rx.ready() || l.short.Load() && l.hasRoom() {
				l.disarm()
				if n >= rounds {
					l.unlead()
					go l.answer()
					return
				}
				l.pump()
				continue
			}
		}
		l.unlead()
		if l.ending.Load() || l.rung.Load() == 0 || !l.takeLead() {
			return
		}
		l.rung.Swap(0)
	}
}

func (l *link) unlead() {
	l.self = 0
	l.leader.Swap(leaderless)
	if l.ending.Load() {
		select {
		case l.vacant <- struct{}{}:
		default:
		}
	}
}

// answer is what a doorbell calls for.
func (l *link) answer() {
	if l.ending.Load() {
		return
	}
	l.rung.Swap(1)
	defer l.rescue(debug.SetPanicOnFault(true), false)
	if l.takeLead() {
		l.rung.Swap(0)
		l.disarm()
		l.pump()
		if r := (*relaying)(l); !r.ready() {
			go l.leadRelays() // for as long as it is busy
			return
		}
		l.leaveArmed()
	}
}

// look is the timer of a hot lane: without it, a record for one goroutine would
// lie there for as long as the last leader is busy with its own.
//
// Who leaves a hot lane first gives up the lead and then looks at watched; here
// watched is cleared first and the lead looked at after it. The same holds for who
// leaves releases behind.
func (l *link) look() {
	if l.ending.Load() {
		return
	}
	l.settle()
	defer l.rescue(debug.SetPanicOnFault(true), false)
	if !l.takeLead() {
		l.watched.Swap(0)
		if l.leader.Load() == 0 || l.owing.Load() != 0 {
			l.keepWatch()
		}
		return
	}
	l.pump()
	if n := l.pumped.Load(); n != l.seen {
		l.seen = n
		l.unlead()
		l.watch.Reset(watchTime)
		return
	}
	l.heat = 0
	l.watched.Swap(0)
	l.leaveArmed()
	if l.owing.Load() != 0 {
		l.keepWatch()
	}
}
