package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"berth/ipc"
	"berth/session"
)

// swarmOptions are the flags of `swarm`.
type swarmOptions struct {
	companions, procs int
	lasting           time.Duration
	kill              bool
	seed              uint64
}

// settleTime bounds how long an engine may take to reclaim what a dead companion
// held, before it counts as leaked.
const settleTime = 30 * time.Second

func (s *simulator) swarmCommand() *cobra.Command {
	var o swarmOptions
	c := command("swarm", "Let many companions send at once, check every byte, and with --kill kill half of their processes at random", cobra.NoArgs)
	f := c.Flags()
	f.IntVar(&o.companions, "companions", 100, "how many companions are registered at a time")
	f.IntVar(&o.procs, "procs", 8, "in how many processes they live")
	f.DurationVar(&o.lasting, "for", 10*time.Second, "how long it lasts")
	f.BoolVar(&o.kill, "kill", false, "kill processes of every second kind and replace them, all the time")
	f.Uint64Var(&o.seed, "seed", 0, "repeat the choices of an earlier run; 0 makes new ones")
	c.RunE = func(c *cobra.Command, _ []string) error { return s.swarm(c.Context(), o) }
	return c
}

func (s *simulator) swarm(ctx context.Context, o swarmOptions) error {
	if o.procs < 1 || o.companions < o.procs {
		return &exitError{2, errors.New("there must be at least one process, and a companion for each")}
	}
	for o.seed == 0 {
		o.seed = rand.Uint64()
	}
	sess, err := session.Named(fmt.Sprintf("swarm%d", os.Getpid()))
	if err != nil {
		return err
	}
	dir, err := sess.RuntimeDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	engine, err := ipc.NewEngine(sess, ipc.Options{})
	if err != nil {
		return err
	}
	defer engine.Close()
	sw := &swarm{options: o, engine: engine, rng: rand.New(rand.NewPCG(o.seed, 0))}
	engine.Handle("check", sw.check)
	fmt.Fprintf(s.out, "seed %d: %d companions in %d processes for %v\n", o.seed, o.companions, o.procs, o.lasting)
	before := holdings()
	if sw.observer, err = ipc.Dial(ctx, engine.Endpoint(), "observer"); err != nil {
		return err
	}
	err = sw.run(ctx)
	sw.left = holdings().since(before)
	return errors.Join(err, s.swarmVerdict(sw))
}

func (s *simulator) swarmVerdict(sw *swarm) error {
	row := func(what string, value any) { fmt.Fprintf(s.out, "%-28s %v\n", what, value) }
	row("messages checked", sw.checked.Load())
	row("bytes checked", sw.bytes.Load())
	row("wrong", sw.wrong.Load()+sw.seenWrong)
	row("lost", sw.lost)
	row("processes killed", len(sw.reclaims))
	if len(sw.reclaims) > 0 {
		slices.Sort(sw.reclaims)
		row("reclaimed after death, p50", sw.reclaims[len(sw.reclaims)/2].Round(10*time.Microsecond))
		row("reclaimed after death, p99", sw.reclaims[len(sw.reclaims)*99/100].Round(10*time.Microsecond))
	}
	row("memory of blocks at most", fmt.Sprintf("%d MiB", sw.most>>20))
	row("blocks left", fmt.Sprintf("%d bytes of %d companions", sw.blocks, sw.registered))
	row("descriptors, maps left", sw.left)
	if sw.wrong.Load()+sw.seenWrong > 0 || sw.lost > 0 || sw.blocks > 0 || sw.registered > 0 || sw.left.leaks() {
		return fmt.Errorf("something was lost, wrong or leaked\nRepeat it with `addin-sim swarm --seed %d`.", sw.options.seed)
	}
	return nil
}
