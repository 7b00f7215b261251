package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"berth/ipc"
	"berth/session"
)

// TestWhatNeverLeftIsNotLost: a message counts as sent from its call on.
func TestWhatNeverLeftIsNotLost(t *testing.T) {
	sess, err := session.Named(fmt.Sprintf("fish%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := sess.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	engine, err := ipc.NewEngine(sess, ipc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	engine.Handle("check", (&checker{}).check)
	f, err := newFish(t.Context(), schoolOptions{engine: engine.Endpoint()}, 0, &checker{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.client.Close(); err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	if f.swim(t.Context(), &over); f.err == nil || f.sent != 0 {
		t.Errorf("%d messages count as sent, error %v", f.sent, f.err)
	}
}

// TestWhalesFitTheBudget: the largest message is a parcel that the engine can ever give.
func TestWhalesFitTheBudget(t *testing.T) {
	for _, c := range []struct {
		budget     int64
		companions int
		want       int
	}{
		{1 << 30, 64, largestWhale},
		{1 << 30, 65, 0},
		{12<<20 + 2*sha256.Size, 1, largestWhale},
		{8 << 20, 8, 4<<20 - sha256.Size},
		{1 << 20, 8, 512<<10 - sha256.Size},
		{512 << 10, 1, 0},
	} {
		if got := whaleIn(c.budget, c.companions); got != c.want {
			t.Errorf("%d bytes for %d companions: %d, want %d", c.budget, c.companions, got, c.want)
		}
	}
}
