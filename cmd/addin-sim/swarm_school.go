package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"
)

// What a process of companions says on a line of its own.
const (
	sayReady = "ready"
	sayDone  = "done"
)

// schoolOptions are the flags of `swarm-school`.
type schoolOptions struct {
	engine, name string
	first, count int // its companions, by number
	others       int // how many others there are to send to, numbered from 0
	whale        int // bytes of their largest message; 0: none is sent whole
	seed         uint64
}

func (s *simulator) schoolCommand() *cobra.Command {
	var o schoolOptions
	c := child("swarm-school", "One process of `swarm`", func(ctx context.Context) error { return s.school(ctx, o) })
	f := c.Flags()
	f.StringVar(&o.engine, "engine", "", "")
	f.StringVar(&o.name, "name", "", "instead of fish")
	f.IntVar(&o.first, "first", 0, "")
	f.IntVar(&o.count, "count", 1, "")
	f.IntVar(&o.others, "others", 0, "")
	f.IntVar(&o.whale, "whale", 0, "")
	f.Uint64Var(&o.seed, "seed", 1, "")
	return c
}

// tally is what a process says in the end.
type tally struct {
	Sent     []int64 `json:"sent"`     // by companion
	Answered []int64 `json:"answered"` // by companion
	Received int64   `json:"received"` // messages of others
	Bytes    int64   `json:"bytes"`    // of those
	Wrong    int64   `json:"wrong"`    // whose hash was another, here or there
	NoMemory int64   `json:"no_memory"`
	Slowest  float64 `json:"slowest_seconds"` // from the wish for memory to the answer
	Error    string  `json:"error,omitempty"`
}

// fishName is the name of companion i of a swarm.
func fishName(i int) string { return fmt.Sprintf("fish%d", i) }

// school registers its companions and says so; sends from the first line on
// standard input to the second and says so; and tells what it sent when standard
// input ends: who is done stays until all are, for others send to it.
func (s *simulator) school(ctx context.Context, o schoolOptions) error {
	ordinaryTurns()
	c := &checker{}
	var all []*fish
	for i := range o.count {
		f, err := newFish(ctx, o, i, c)
		if err != nil {
			return err
		}
		defer f.client.Close()
		all = append(all, f)
	}
	fmt.Fprintln(s.out, sayReady)
	in := bufio.NewReader(os.Stdin)
	_, _ = in.ReadString('\n')
	var over, done atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = in.ReadString('\n')
		over.Store(true)
		_, _ = io.Copy(io.Discard, in)
		if !done.Load() { // it was waited for in vain
			whereabouts(fmt.Sprintf("companions %d to %d of %q", o.first, o.first+o.count-1, o.name))
		}
	}()
	var swimming sync.WaitGroup
	for _, f := range all {
		swimming.Go(func() { f.swim(ctx, &over) })
	}
	swimming.Wait()
	done.Store(true)
	fmt.Fprintln(s.out, sayDone)
	<-ended
	return json.NewEncoder(s.out).Encode(sumUp(all, c))
}

// whereabouts tells, on standard error, where each goroutine is: for what should have
// ended and has not.
func whereabouts(who string) {
	fmt.Fprintf(os.Stderr, "%s: here is where everybody is:\n", who)
	_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
}

func sumUp(all []*fish, c *checker) tally {
	t := tally{Received: c.checked.Load(), Bytes: c.bytes.Load(), Wrong: c.wrong.Load()}
	for _, f := range all {
		t.Sent, t.Answered = append(t.Sent, f.sent), append(t.Answered, f.answered)
		t.Wrong += f.wrong
		t.NoMemory += f.noMemory
		t.Slowest = max(t.Slowest, f.slowest.Seconds())
		if f.err != nil {
			t.Error = fmt.Sprintf("%s: %v", f.client.Name(), f.err)
		}
	}
	return t
}
