package ipc

import (
	"context"
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

func (l *link) takeLead() bool { return l.leader.CompareAndSwap(0, 1) }

// lead handles records until c is ready, ctx ended or the link is dead (true), or
// until it is not worth a thread any more (false). The caller has taken the lead,
// and has lost it afterwards; it must check c once more after false.
func (l *link) lead(ctx context.Context, c condition) (over bool, err error) {
	l.rx.rise()
	for {
		l.pump()
		ready, err := l.check(c)
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
		if !l.nap(c) {
			l.leaveArmed()
			return false, nil
		}
	}
}

func (l *link) isDead() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// pump handles what lies in the ring, at most one batch.
func (l *link) pump() {
	r := &l.record
	n := 0
	for n < batch && !l.isDead() && l.rx.pop(r) {
		n++
		if err := l.dispatch(r); err != nil {
			l.breach(err)
		}
	}
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

// eagerLooks is how often a spinner looks before it lets somebody else run: for
// about a third of a microsecond. A yield takes as long as the hop of a record, and
// what comes during it waits (0.15 us of a round trip).
const eagerLooks = 200

// spin looks at the ring for a short while, if that was worth it the last time.
func (l *link) spin() bool {
	if l.heat == 0 {
		return false
	}
	var start time.Time
	for i := 0; ; i++ {
		if l.rx.ready() || l.short.Load() && l.hasRoom() {
			l.heat = min(l.heat+1, 8)
			return true
		}
		if i < eagerLooks {
			continue
		}
		yield()
		switch {
		case start.IsZero():
			start = time.Now()
		case i%4 == 0 && time.Since(start) > spinTime:
			l.heat = 0
			return false
		}
	}
}

// nap sleeps in the kernel until a record comes or c may be ready; false when it
// took too long, or when this system can't sleep so.
func (l *link) nap(c condition) bool {
	l.rx.wake.Swap(asleep)
	ready, err := l.check(c)
	if ready || err != nil || l.ending.Load() || l.rx.ready() || l.short.Load() && l.hasRoom() {
		l.rx.wake.Swap(awake)
		return true
	}
	start := time.Now()
	can := l.bell.sleep(warmTime)
	l.rx.wake.Swap(awake)
	took := time.Since(start)
	if took < hitTime && l.rx.ready() {
		l.heat = 2
	}
	return can && took < warmTime
}

func (l *link) hasRoom() bool {
	l.txMu.Lock()
	defer l.txMu.Unlock()
	room, err := l.tx.room()
	return err != nil || room > 0
}

// leave gives up the lead: a hot lane is left as it is, for this goroutine will be
// back at once, and the timer sees to it if it isn't.
func (l *link) leave() {
	if l.heat == 0 || l.ending.Load() {
		l.leaveArmed()
		return
	}
	l.unlead()
	l.keepWatch()
}

// leaveArmed gives up the lead with the lane armed for a doorbell, so that the
// next record finds somebody.
//
// A doorbell that comes while this goroutine still leads finds nobody to take the
// lead; it leaves a note in rung. The note is written before the lead is tried, and
// read here after the lead is given up: one of the two sees the other.
func (l *link) leaveArmed() {
	for {
		if !l.ending.Load() {
			l.rx.wake.Swap(doorbell)
			if l.rx.ready() || l.short.Load() && l.hasRoom() {
				l.rx.wake.Swap(awake)
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
	l.leader.Swap(0)
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
	if l.takeLead() {
		l.rung.Swap(0)
		l.rx.rise()
		l.pump()
		if r := (*relaying)(l); !r.ready() {
			go func() { _, _ = l.lead(context.Background(), r) }() // for as long as it is busy
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
