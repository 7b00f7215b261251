package ipc

import (
	"context"
	"errors"
	"runtime"
	"testing"
)

// TestANapEndsWhateverBecomesOfTheWakeWord: the other side has overwritten it, so that
// nobody knows any more that somebody sleeps.
func TestANapEndsWhateverBecomesOfTheWakeWord(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("nobody sleeps on a lane here")
	}
	_, l := joinedPair(t, 8, testHost{}, testHost{}, func(l *link) { l.noSpin = true })
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	for roused := 0; roused < 3; {
		n := asleepIn(t, ctx, l)
		l.rx.wake.Store(7)
		waitFor(t, func() bool { return l.naps.Load() != n })
		if l.roused.Load() == n { // else the word had changed before it fell asleep
			roused++
		}
	}
	waitFor(t, func() bool { return l.leader.Load() == leaderless && l.rousing.Load() == 0 }) // the timer rests when nobody sleeps
}

// asleepIn has goroutines wait on l until one of them naps, and answers the nap's number.
func asleepIn(t *testing.T, ctx context.Context, l *link) (n uint32) {
	t.Helper()
	waitFor(t, func() bool {
		if l.leader.Load() == leaderless { // the last nap was over before anybody looked
			go func() { _ = l.await(ctx, never{}, make(chan struct{})) }()
		}
		n = l.naps.Load()
		return n&1 != 0 && l.rx.wake.Load() == asleep
	})
	return n
}

// never is a condition that does not come true.
type never struct{}

func (never) ready() bool { return false }

// TestTheLaneGoesWhenItsSleeperHasGone: who takes the lane down deposes a leader that
// sleeps on, because the wake word is gone, and that one still finds its memory.
func TestTheLaneGoesWhenItsSleeperHasGone(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("nobody sleeps on a lane here")
	}
	_, l := joinedPair(t, 8, testHost{}, testHost{}, func(l *link) { l.noSpin = true })
	ended := make(chan error, 1)
	go func() { ended <- l.await(testContext(t), never{}, make(chan struct{})) }()
	asleepIn(t, testContext(t), l)
	l.rx.wake.Store(7)
	l.fail(ErrClosed)
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("it ended with %v", err)
	}
	waitFor(t, func() bool { return l.users.Load() == 0 })
}
