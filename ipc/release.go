package ipc

// delayLimit is the most memory, in bytes, that releases may hold back together.
const delayLimit = 64 << 10

// debts are releases that wait for company: one record carries up to maxReleases.
// A release of its own costs both sides the transfer of a cache line per message;
// in company 4 KiB messages are half as fast again.
//
// Who releases adds; the leader sends what there is when it runs out of records to
// handle, before it waits. A releaser that never comes back leaves the rest to the
// timer of hot lanes, at most watchTime later.
type debts struct {
	rec   record
	n     int
	bytes int
	sure  bool // who releases settles itself
}

// owe releases an allocation of the other side, at once or soon. The caller holds mu.
func (l *link) owe(loc location) {
	d := &l.debts
	if d.n == 0 {
		d.rec = newRecord(kindRelease, 0, 0, 0)
	}
	d.n = d.rec.addRelease(loc)
	d.bytes += int(loc.length)
	// A small window can't spare a credit, and a leader may be asleep already.
	if d.n >= min(maxReleases, l.window/8) || d.bytes >= delayLimit || l.leader.Load() != 0 && !d.sure {
		l.settleLocked()
		return
	}
	if d.n == 1 {
		l.owing.Swap(1)
	}
	if !d.sure {
		l.keepWatch()
	}
}

// settle sends the releases that wait.
func (l *link) settle() {
	if l.owing.Load() == 0 {
		return
	}
	l.mu.Lock()
	l.settleLocked()
	l.mu.Unlock()
}

func (l *link) settleLocked() {
	if l.debts.n == 0 {
		return
	}
	l.owing.Store(0)
	l.debts.n, l.debts.bytes = 0, 0
	if l.err == nil {
		l.post(&l.debts.rec)
	}
}

// keepWatch has look come within watchTime.
func (l *link) keepWatch() {
	if l.watched.Load() == 0 && l.watched.CompareAndSwap(0, 1) {
		l.watch.Reset(watchTime)
	}
}
