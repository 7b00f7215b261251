package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// switchOptions are the flags of `switch`.
type switchOptions struct {
	sessions, addins, rounds int
	controllers              int // started in each session and round; below 0: none to two, at random
	seed                     uint64
}

// roundTime bounds one round, so that a hang is a breach and not a hang.
const roundTime = 3 * time.Minute

func (s *simulator) switchCommand() *cobra.Command {
	o := switchOptions{}
	c := command("switch", "Simulate fast user switching: several sessions, each with its companions, started in random order and killed at random; check what must hold", cobra.NoArgs)
	f := c.Flags()
	f.IntVar(&o.sessions, "sessions", 3, "how many sessions live side by side")
	f.IntVar(&o.addins, "addins", 4, "how many companions start in each session and round")
	f.IntVar(&o.controllers, "controllers", -1, "how many controllers are started in each session and round, of which one may stay; -1: none to two")
	f.IntVar(&o.rounds, "rounds", 3, "how many rounds")
	f.Uint64Var(&o.seed, "seed", 0, "repeat the plan of an earlier run; 0 makes a new one")
	c.RunE = func(c *cobra.Command, _ []string) error { return s.switchSessions(c.Context(), o) }
	return c
}

func (s *simulator) switchSessions(ctx context.Context, o switchOptions) (err error) {
	if o.sessions < 1 || o.addins < 1 || o.rounds < 1 {
		return &exitError{2, fmt.Errorf("sessions, addins and rounds must be at least 1")}
	}
	for o.seed == 0 {
		o.seed = rand.Uint64()
	}
	fmt.Fprintf(s.out, "seed %d: %d sessions, %d companions each, %d rounds\n\n", o.seed, o.sessions, o.addins, o.rounds)
	sim, err := newSimulation(o)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROUND\tSESSION\tPORT\tCONTROLLERS\tKILLED\tENDED WHOLE\tACCEPTED\tDELIVERED\tBREACHES")
	for round := range o.rounds {
		if ctx.Err() != nil {
			break
		}
		sim.round(ctx, round+1)
		for _, w := range sim.worlds {
			fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%d\t%v\t%d\t%d\t%d\n", round+1, w.name, w.port,
				len(w.pids), w.kills(), w.whole, len(w.accepted), w.delivered, len(w.breaches))
		}
	}
	sim.end()
	_ = t.Flush()
	return s.verdict(ctx, sim, o)
}

// kills is how many controllers of this epoch were killed.
func (w *world) kills() (n int) {
	for pid := range w.pids {
		if w.killed[pid] {
			n++
		}
	}
	return n
}

// verdict tells every breach and fails if there is one.
func (s *simulator) verdict(ctx context.Context, sim *simulation, o switchOptions) error {
	total := 0
	for _, w := range sim.worlds {
		for _, b := range w.breaches {
			total++
			fmt.Fprintf(s.out, "breach in %s: %s\n", w.name, b)
		}
	}
	if total > 0 {
		return fmt.Errorf("%d breaches\nRepeat the plan with `addin-sim switch --seed %d --sessions %d --addins %d --controllers %d --rounds %d`; logs are in %s.",
			total, o.seed, o.sessions, o.addins, o.controllers, o.rounds, sim.dir)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fmt.Fprintln(s.out, "\nno breach: one controller and one port in each session, different ports, nothing crossed, everything accepted was delivered")
	return nil
}
