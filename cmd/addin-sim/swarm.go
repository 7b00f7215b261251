package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
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
	kills             int
	hostile           bool
	mischief          []string
	stop              time.Duration
	budget            int64 // MiB
	seed              uint64
	json              bool
}

func (s *simulator) swarmCommand() *cobra.Command {
	var o swarmOptions
	c := command("swarm", "Let many companions send at once, to the controller and to each other, and check every byte by hash", cobra.NoArgs)
	c.Long = c.Short + `.

Beside those that work, some may be killed all the time (--kill, --kills), break
the rules in every way that is known (--hostile), or be stopped for a while
(--stop). Those that work must lose nothing, and nothing of the others may be left.
It has an engine and a session of its own and touches no controller.`
	f := c.Flags()
	f.IntVar(&o.companions, "companions", 100, "how many companions work at a time")
	f.IntVar(&o.procs, "procs", 8, "in how many processes they live")
	f.DurationVar(&o.lasting, "for", 10*time.Second, "how long it lasts; 0 as long as --kills or --stop take")
	f.BoolVar(&o.kill, "kill", false, "start more processes beside them, and kill each in the middle of its work")
	f.IntVar(&o.kills, "kills", 0, "kill exactly so many, however long it takes")
	f.BoolVar(&o.hostile, "hostile", false, "add companions that break the rules")
	f.StringSliceVar(&o.mischief, "mischief", nil, "only these ways to break them ("+strings.Join(mischiefNames(), ", ")+")")
	f.DurationVar(&o.stop, "stop", 0, "stop (SIGSTOP) a process of companions for so long, then let it go on")
	f.Int64Var(&o.budget, "budget", 0, "memory for all blocks together, in MiB; 0 takes what a controller would")
	f.Uint64Var(&o.seed, "seed", 0, "repeat the choices of an earlier run; 0 makes new ones")
	f.BoolVar(&o.json, "json", false, "print one object instead of a table")
	c.RunE = func(c *cobra.Command, _ []string) error { return s.swarm(c.Context(), o) }
	return c
}

func mischiefNames() (names []string) {
	for _, m := range mischiefs() {
		names = append(names, m.name)
	}
	return names
}

// largestBudget is what fits an int64 in bytes, in MiB.
const largestBudget = math.MaxInt64 >> 20

func (o *swarmOptions) check() error {
	switch {
	case o.procs < 1 || o.companions < o.procs:
		return &exitError{2, errors.New("there must be at least one process, and a companion for each")}
	case o.lasting < 0 || o.stop < 0 || o.kills < 0:
		return &exitError{2, errors.New("--for, --stop and --kills can't be less than 0")}
	case o.lasting == 0 && o.stop == 0 && o.kills == 0:
		return &exitError{2, errors.New("--for must be more than 0, unless --kills or --stop say how long it lasts")}
	case o.budget < 0 || o.budget > largestBudget:
		return &exitError{2, fmt.Errorf("a --budget of %d MiB can't be: it is at most %d, and 0 takes what a controller would", o.budget, int64(largestBudget))}
	}
	for _, m := range o.mischief {
		if !slices.Contains(mischiefNames(), m) {
			return &exitError{2, fmt.Errorf("there is no mischief %q; there are %s", m, strings.Join(mischiefNames(), ", "))}
		}
	}
	switch {
	case len(o.mischief) > 0:
		o.hostile = true
	case o.hostile:
		o.mischief = mischiefNames()
	}
	o.kill = o.kill || o.kills > 0
	o.lasting = max(o.lasting, o.stop)
	for o.seed == 0 {
		o.seed = rand.Uint64N(1 << 53) // that much every reader of JSON keeps
	}
	return nil
}

// leastBlock is what the block of a companion takes when memory is short: 64 KiB for
// each half.
const leastBlock = 128 << 10

// directoryEntries is how many companions an engine registers at most.
const directoryEntries = 4096

// beside is how many companions there may be at a time that are killed, stopped or
// hostile. None of them works while it waits for room, and some wait for each other's.
func (o *swarmOptions) beside() (n int) {
	switch {
	case o.kills > 0:
		n = victimsMost * min(killers, o.kills)
	case o.kill:
		n = victimsMost * killers
	}
	if o.stop > 0 {
		n += stoppedMost
	}
	for _, m := range mischiefs() {
		if slices.Contains(o.mischief, m.name) {
			n += m.most
		}
	}
	return n
}

// fits says how many companions the engine and its budget, in bytes, can hold.
func (o *swarmOptions) fits(budget int64) error {
	beside := o.beside()
	all, room := int64(o.companions)+int64(beside), min(budget/leastBlock, directoryEntries)
	if all <= room {
		return nil
	}
	who := fmt.Sprintf("%d companions", all)
	if beside > 0 {
		who += fmt.Sprintf(", %d of them to be killed, stopped or hostile,", beside)
	}
	if all > directoryEntries {
		return &exitError{2, fmt.Errorf("%s are more than an engine registers, which is at most %d", who, directoryEntries)}
	}
	next := fmt.Sprintf("give --budget %d", (all*leastBlock+1<<20-1)>>20)
	if most := room - int64(beside); most > 0 {
		next += fmt.Sprintf(", or at most --companions %d", most)
	}
	return &exitError{2, fmt.Errorf("%s don't fit into a budget of %d MiB, of which each takes at least %d KiB: %s", who, budget>>20, leastBlock>>10, next)}
}

// starved says what to do for companions that never had their turn.
func (r *swarmResult) starved() string {
	never := 0
	for _, n := range r.served {
		if n == 0 {
			never++
		}
	}
	return fmt.Sprintf("%d of %d companions were never served in %.0f s: with %d MiB of memory, %d KiB for each, it goes round among them; "+
		"give it longer (--for) or more (--budget)", never, r.Companions, r.Seconds, r.Budget>>20, r.Budget/int64(max(1, r.Companions))>>10)
}

func (s *simulator) swarm(ctx context.Context, o swarmOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	ipc.Tune()
	sess, err := session.Named(fmt.Sprintf("swarm%d", os.Getpid()))
	if err != nil {
		return err
	}
	dir, err := sess.RuntimeDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if !o.json {
		fmt.Fprintf(s.out, "seed %d: %d companions in %d processes\n", o.seed, o.companions, o.procs)
	}
	sw, err := newSwarm(sess, o)
	if err != nil {
		return err
	}
	before := holdings()
	schools, err := sw.gather(ctx)
	if err != nil { // nothing has happened that could be judged
		return errors.Join(sw.close(), cmp.Or(interrupted(ctx, "the start of the swarm"), fmt.Errorf("the swarm did not start: %w", err)))
	}
	err = sw.run(ctx, schools)
	sw.result.Left = leftSince(before)
	err = errors.Join(err, sw.close())
	sw.result.Files = filesIn(dir)
	return errors.Join(err, s.tell(&sw.result, o))
}

// leftSince is what is held more than before, once the ends of all streams have been
// seen: a flood of connections that nobody registered on has an end as well.
func leftSince(before held) held {
	for end := time.Now().Add(settleTime); ; time.Sleep(10 * time.Millisecond) {
		if left := holdings().since(before); !left.leaks() || time.Now().After(end) {
			return left
		}
	}
}

// filesIn lists what lies in a directory.
func filesIn(dir string) []string {
	names := []string{}
	entries, _ := os.ReadDir(dir) // none is what shall be
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// swarmResult is what a run has shown. Sizes are in bytes, times in seconds.
type swarmResult struct {
	Seed       uint64  `json:"seed"`
	Companions int     `json:"companions"`
	Seconds    float64 `json:"seconds"`

	Checked  int64    `json:"messages_checked"`
	Bytes    int64    `json:"bytes_checked"`
	Wrong    int64    `json:"wrong"`
	Lost     int64    `json:"lost"` // sent by a companion that lived, and not answered
	NoMemory int64    `json:"refused_for_memory"`
	Served   [3]int64 `json:"served_least_median_most"` // messages of one companion
	Slowest  float64  `json:"slowest_seconds"`          // from the wish for memory to the answer
	Failures []string `json:"failures"`                 // of companions that did nothing wrong

	// Of killed processes, in seconds: p50, p99, largest.
	Killed  int        `json:"killed"`
	Dying   [3]float64 `json:"kill_to_death_p50_p99_max_seconds"`      // the system's part
	Reclaim [3]float64 `json:"death_to_reclaimed_p50_p99_max_seconds"` // the last byte is given back
	Whole   [3]float64 `json:"kill_to_reclaimed_p50_p99_max_seconds"`

	Hostile []hostileResult `json:"hostile"`
	Stopped float64         `json:"stopped_seconds"`

	Budget     int64    `json:"budget_bytes"`
	Most       int64    `json:"blocks_most_bytes"`
	MostShared int64    `json:"shared_most_bytes"` // pages that really were taken
	Threads    int      `json:"engine_threads_most"`
	Resident   int64    `json:"engine_private_most_bytes"`
	Blocks     int64    `json:"blocks_left_bytes"`
	Registered int      `json:"companions_left"`
	Left       held     `json:"left"`
	Files      []string `json:"files_left"`

	served []int64 // by companion
	cut    bool    // by a signal: what has not happened might have
}

// hostileResult is what one way of breaking the rules led to.
type hostileResult struct {
	Name    string         `json:"name"`
	Attacks int64          `json:"attacks"`
	HungUp  int64          `json:"hung_up"`
	Reasons map[string]int `json:"dropped_by_reason"`
	breach  bool
}

// faults says what must not be.
func (r *swarmResult) faults() (all []string) {
	fault := func(is bool, format string, args ...any) {
		if is {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	fault(r.Checked == 0 && !r.cut, "nothing was sent")
	fault(r.Wrong > 0, "%d messages arrived wrong", r.Wrong)
	fault(r.Lost > 0, "%d messages were lost", r.Lost)
	fault(r.Served[0] == 0 && !r.cut, "%s", r.starved())
	fault(r.Most > r.Budget, "blocks took %d bytes of a budget of %d", r.Most, r.Budget)
	fault(r.Blocks > 0 || r.Registered > 0, "%d bytes of blocks and %d companions are left in the engine", r.Blocks, r.Registered)
	fault(r.Left.leaks(), "descriptors and maps are left: %v", r.Left)
	fault(len(r.Files) > 0, "files are left: %v", r.Files)
	for _, h := range r.Hostile {
		dropped := 0
		for _, n := range h.Reasons {
			dropped += n
		}
		fault(h.Attacks == 0 && !r.cut, "%s did nothing", h.Name)
		fault(h.breach && dropped == 0 && !r.cut, "%s broke the rules and was never dropped", h.Name)
	}
	return append(all, r.Failures...)
}

func (s *simulator) tell(r *swarmResult, o swarmOptions) error {
	if o.json {
		if err := json.NewEncoder(s.out).Encode(r); err != nil {
			return err
		}
	} else {
		s.table(r)
	}
	if faults := r.faults(); len(faults) > 0 {
		return fmt.Errorf("%s\nRepeat it with the same flags and --seed %d.", strings.Join(faults, "\n"), r.Seed)
	}
	return nil
}

func (s *simulator) table(r *swarmResult) {
	row := func(what, format string, args ...any) {
		fmt.Fprintf(s.out, "%-30s "+format+"\n", append([]any{what}, args...)...)
	}
	row("lasted", "%.1f s", r.Seconds)
	row("messages checked", "%d", r.Checked)
	row("bytes checked", "%d", r.Bytes)
	row("wrong", "%d", r.Wrong)
	row("lost", "%d", r.Lost)
	row("refused for want of memory", "%d", r.NoMemory)
	row("served, least median most", "%d %d %d", r.Served[0], r.Served[1], r.Served[2])
	row("slowest answer", "%.0f ms", 1e3*r.Slowest)
	if r.Killed > 0 {
		row("processes killed", "%d", r.Killed)
		times := func(what string, t [3]float64) {
			row(what, "p50 %.2f ms, p99 %.2f ms, most %.2f ms", 1e3*t[0], 1e3*t[1], 1e3*t[2])
		}
		times("from kill to death", r.Dying)
		times("from death to reclaimed", r.Reclaim)
		times("from kill to reclaimed", r.Whole)
	}
	if r.Stopped > 0 {
		row("stopped and went on", "%.1f s", r.Stopped)
	}
	for _, h := range r.Hostile {
		row("hostile: "+h.Name, "%d attempts, the engine hung up on %d", h.Attacks, h.HungUp)
		for _, reason := range byCount(h.Reasons) {
			row("", "%6d × %s", h.Reasons[reason], reason)
		}
	}
	row("budget", "%d MiB", r.Budget>>20)
	row("memory of blocks at most", "%d MiB", r.Most>>20)
	if r.MostShared > 0 {
		row("pages of them at most", "%d MiB", r.MostShared>>20)
		row("engine beside them at most", "%d MiB, %d threads", r.Resident>>20, r.Threads)
	}
	row("blocks left", "%d bytes of %d companions", r.Blocks, r.Registered)
	row("descriptors, maps left", "%v", r.Left)
	row("files left", "%d", len(r.Files))
}

// byCount sorts reasons, the most frequent first, and cuts the list.
func byCount(reasons map[string]int) (all []string) {
	for reason := range reasons {
		all = append(all, reason)
	}
	slices.SortFunc(all, func(a, b string) int {
		if d := reasons[b] - reasons[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return all[:min(len(all), 8)]
}
