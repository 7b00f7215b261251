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

// TestAClosedBellRingsForNobodyElse: the number of a closed handle is soon another's.
func TestAClosedBellRingsForNobodyElse(t *testing.T) {
	own, _, err := laneEvents()
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBell(nil, nil, own, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	others := map[uintptr]windows.Handle{}
	defer func() {
		for _, h := range others {
			_ = windows.CloseHandle(h)
		}
	}()
	for range 1000 { // until the numbers come again
		h, err := windows.CreateEvent(nil, 0, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		others[uintptr(h)] = h
		if others[own[0]] != 0 && others[own[1]] != 0 {
			break
		}
	}
	b.wakeSelf()
	b.wakePeer()
	rung := 0
	for _, h := range others {
		if is, _ := windows.WaitForSingleObject(h, 0); is == windows.WAIT_OBJECT_0 {
			rung++
		}
	}
	if rung > 0 {
		t.Errorf("%d events of others were set", rung)
	}
	if others[own[0]] == 0 || others[own[1]] == 0 {
		t.Log("the numbers did not come again")
	}
}
