package ipc

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// playPair is two companions in one process, busy until it is killed.
func playPair(name, endpoint string) int {
	ctx := context.Background()
	for i, suffix := range []string{"-a", "-b"} {
		c, err := Dial(ctx, endpoint, name+suffix, Sizes(1<<20, 1<<20))
		if err != nil {
			fmt.Println("error:", err)
			return 1
		}
		go func() {
			s, err := c.Open(ctx, "controller/echo", nil)
			for n := i; err == nil; n++ {
				err = callOnce(ctx, s, n)
			}
			fmt.Fprintln(os.Stderr, name+suffix, "stopped:", err)
			os.Exit(1)
		}()
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// callOnce sends n's payload to an echo and compares what comes back.
func callOnce(ctx context.Context, s *Session, n int) error {
	p, err := s.Alloc(ctx, n*7919%300_000)
	if err != nil {
		return err
	}
	fill(p.Bytes(), byte(n))
	want := sha256.Sum256(p.Bytes())
	m, err := s.Call(ctx, p)
	if err != nil {
		return err
	}
	defer m.Release()
	if sha256.Sum256(m.Bytes()) != want {
		return fmt.Errorf("message %d came back changed", n)
	}
	return nil
}

// graveyard is a log that notes when a companion was gone altogether.
type graveyard struct {
	slog.Handler
	mu     sync.Mutex
	buried map[string]chan time.Time
}

func (g *graveyard) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "a companion left" {
		return nil
	}
	now := time.Now()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "name" {
			g.of(a.Value.String()) <- now
		}
		return a.Key != "name"
	})
	return nil
}

func (g *graveyard) of(name string) chan time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.buried[name] == nil {
		g.buried[name] = make(chan time.Time, 4)
	}
	return g.buried[name]
}

// TestReclaimOnABusyMachine kills processes of two companions each while the others
// keep every core busy, and prints how long it takes until nothing is left of them.
// A few kills only, 300 with BERTH_TORTURE=1.
func TestReclaimOnABusyMachine(t *testing.T) {
	kills := tortures(6, 300)
	g := &graveyard{Handler: slog.DiscardHandler, buried: map[string]chan time.Time{}}
	e := testEngine(t, Options{Log: slog.New(always{g})})
	e.Handle("echo", echo)
	const processes = 8
	var all [processes]*companion
	for i := range all {
		all[i] = startCompanion(t, e, "pair", fmt.Sprintf("p%d", i))
	}
	var took, after []time.Duration // since the kill, and since the kernel was through with it
	for range kills {
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		i := rand.IntN(processes)
		name := fmt.Sprintf("p%d", i)
		at := time.Now()
		all[i].kill()
		dead := time.Now()
		for _, suffix := range []string{"-a", "-b"} {
			gone := <-g.of(name + suffix)
			took, after = append(took, gone.Sub(at)), append(after, max(0, gone.Sub(dead)))
		}
		all[i] = startCompanion(t, e, "pair", name)
	}
	slices.Sort(took)
	slices.Sort(after)
	t.Logf("%d kills of 2 companions, %d others busy: reclaimed after p50 %v, p99 %v, longest %v; %v, %v, %v of that after the process was dead",
		kills, 2*(processes-1), took[len(took)/2], took[len(took)*99/100], took[len(took)-1],
		after[len(took)/2], after[len(took)*99/100], after[len(took)-1])
	if n := len(e.Stats().Companions); n != 2*processes {
		t.Fatalf("%d companions are registered", n)
	}
	for i := range all {
		all[i].kill()
	}
	defer func() {
		if t.Failed() {
			t.Logf("left: %+v", e.Stats())
		}
	}()
	waitFor(t, func() bool { st := e.Stats(); return len(st.Companions) == 0 && st.Used == 0 })
}

// always passes every record on.
type always struct{ slog.Handler }

func (always) Enabled(context.Context, slog.Level) bool { return true }

// tortures is few, or many with BERTH_TORTURE=1.
func tortures(few, many int) int {
	if os.Getenv("BERTH_TORTURE") == "1" {
		return many
	}
	return few
}
