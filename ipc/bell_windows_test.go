package ipc

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// TestASleeperBehindACrowdWakes: a companion waits for the event that the engine sleeps on,
// with many threads, and each takes one wake-up.
func TestASleeperBehindACrowdWakes(t *testing.T) {
	engine, companion := joinedPair(t, 8, testHost{}, testHost{}, func(l *link) { l.noSpin = true })
	var crowd sync.WaitGroup
	var stop atomic.Bool
	event := companion.bell.(*eventBell).tx
	for range 200 {
		crowd.Go(func() {
			for !stop.Load() {
				_, _ = windows.WaitForSingleObject(event, windows.INFINITE)
			}
		})
	}
	time.Sleep(200 * time.Millisecond) // until they wait
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	n := asleepIn(t, ctx, engine)
	start := time.Now()
	waitFor(t, func() bool { return engine.naps.Load() != n })
	if took := time.Since(start); took > time.Second {
		t.Errorf("it slept for %v", took)
	}
	stop.Store(true)
	gone := make(chan struct{})
	go func() {
		crowd.Wait()
		close(gone)
	}()
	for {
		select {
		case <-gone:
			return
		default:
			_ = windows.SetEvent(event)
		}
	}
}
