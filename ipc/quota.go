package ipc

import (
	"fmt"
	"time"
)

const (
	// keptDescriptors are for the companions that are registered: they grow, and pass
	// segments on. Nobody new is let in while there are fewer.
	keptDescriptors = 64
	// maxExtents is how many extents one companion may have, each of which is a
	// descriptor and a map of the engine.
	maxExtents = 1024
	// idleRings is how many doorbells a companion may ring that nobody asked for.
	idleRings = 256
	// frameRate is how many other control frames a second are answered at once, and
	// frameRest how long each one waits beyond that.
	frameRate = 1000
	frameRest = time.Millisecond
)

// spareDescriptors refuses a registration, with the numbers, while this process is
// about to run out of descriptors.
func spareDescriptors() error {
	used, limit, ok := descriptors()
	if left := limit - used; ok && left < keptDescriptors {
		return &refusedError{refuseQuota, fmt.Sprintf("only %d file descriptors are left of the engine's %d, and %d are kept for the companions "+
			"that are registered: close some of them, or start the controller with a higher limit (ulimit -n)", max(0, left), limit, keptDescriptors)}
	}
	return nil
}

// extents is how many this companion has, both halves together. The caller holds mu.
func (l *link) extents() int {
	return len(l.theirs) + len(l.mem.extents) + len(l.passages)
}

// arm has the other side ring once for its next record.
func (l *link) arm() {
	l.arms.Add(1) // first: it may ring before this returns
	if l.rx.wake.Swap(doorbell) == doorbell {
		l.arms.Add(^uint32(0))
	}
}

func (l *link) begin() error {
	l.arm()
	return nil
}

// disarm says that this side looks. Where the word still called for a doorbell, the
// other side has not exchanged it, and may not ring.
func (l *link) disarm() {
	if l.rx.rise() == doorbell {
		l.arms.Add(^uint32(0))
	}
}

// watchman sees to it that nobody keeps the reader of a control stream busy for
// nothing. It belongs to that reader.
type watchman struct {
	arms   uint32 // as last seen
	due    int    // doorbells that may still come; less than 0: idle ones
	frames int
	since  time.Time
}

// rung counts a doorbell. There is one cause for each: the lane was armed, and the
// exchange of its wake word answered so. (The engine rings for other reasons too.)
func (w *watchman) rung(l *link) error {
	arms := l.arms.Load()
	w.due = min(w.due+int(int32(arms-w.arms)), idleRings) - 1
	w.arms = arms
	if !l.companion && w.due < -idleRings {
		return fmt.Errorf("it rang the doorbell %d times for nothing", -w.due)
	}
	return nil
}

// pace slows down who sends more other frames than there can be reason for.
func (w *watchman) pace() {
	w.frames++
	if w.frames <= frameRate {
		return
	}
	if time.Since(w.since) > time.Second {
		w.frames, w.since = 0, time.Now()
		return
	}
	time.Sleep(frameRest)
}
