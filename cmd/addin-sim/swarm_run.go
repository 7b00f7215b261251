package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"berth/ipc"
	"berth/session"
)

// settleTime bounds how long an engine may take to reclaim what a dead companion
// held, and a companion to end what it does, before it counts as lost.
const settleTime = 60 * time.Second

// endTime is how long a process may take to end whose companions were waited for in vain.
const endTime = 5 * time.Second

const (
	killers     = 4 // processes that are killed at a time
	victimsMost = 3 // companions in one of them
	stoppedMost = 2 // companions in the process that is stopped
)

// swarm is one run. What is not guarded belongs to the goroutine of run.
type swarm struct {
	options swarmOptions
	engine  *ipc.Engine
	journal *journal
	checker checker

	over    atomic.Bool // no more kills than were asked for
	aborted atomic.Bool // the user wants no more
	killing sync.WaitGroup

	mu       sync.Mutex // guards the rest
	started  int
	killed   int
	dying    []float64 // seconds from the SIGKILL to the end of each killed process
	reclaims []float64 // from there to the last byte given back
	whole    []float64 // both
	sleeper  int       // the process that is stopped
	result   swarmResult
}

func newSwarm(sess session.Session, o swarmOptions) (*swarm, error) {
	w := &swarm{options: o, journal: newJournal(), result: swarmResult{Failures: []string{}, Hostile: []hostileResult{}}}
	engine, err := ipc.NewEngine(sess, ipc.Options{Log: slog.New(w.journal), Budget: o.budget << 20})
	if err != nil {
		return nil, err
	}
	w.engine = engine
	engine.Handle("check", w.checker.check)
	w.result.Seed, w.result.Companions, w.result.Budget = o.seed, o.companions, engine.Stats().Budget
	if err := o.fits(w.result.Budget); err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	return w, nil
}

func (w *swarm) close() error { return w.engine.Close() }

// run lets everybody work, and counts.
func (w *swarm) run(ctx context.Context, schools []*process) error {
	began := time.Now()
	for _, s := range schools {
		s.tell("go\n")
	}
	if w.options.kill {
		w.kill(ctx)
	}
	hostile, err := w.unleash()
	var stopErr error
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stopErr = w.stop(ctx)
	}()
	w.watch(ctx, began, stopped)
	w.over.Store(true)
	w.result.cut = ctx.Err() != nil
	w.aborted.Store(w.result.cut)
	<-stopped
	w.killing.Wait()
	late := time.Now().Add(settleTime)
	err = errors.Join(err, stopErr, w.recall(hostile, late))
	for _, s := range schools {
		s.tell("stop\n")
	}
	err = errors.Join(err, w.disband(schools, late))
	w.result.Seconds = time.Since(began).Seconds()
	w.sum()
	return errors.Join(err, w.count(), interrupted(ctx, "the swarm"))
}

// gather starts the companions that work, all of them or none.
func (w *swarm) gather(ctx context.Context) (schools []*process, err error) {
	defer func() {
		if err != nil {
			killAll(schools)
		}
	}()
	first := 0
	for i := range w.options.procs {
		count := w.options.companions / w.options.procs
		if i < w.options.companions%w.options.procs {
			count++
		}
		s, err := w.school("", first, count, uint64(i))
		if err != nil {
			return schools, err
		}
		schools = append(schools, s)
		first += count
	}
	return schools, allReady(ctx, schools)
}

// allReady waits for all at once, and for none any more when one has failed.
func allReady(ctx context.Context, schools []*process) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var waits sync.WaitGroup
	for _, s := range schools {
		waits.Go(func() {
			if err := s.awaitReady(ctx); err != nil {
				cancel(fmt.Errorf("a process of companions %w", err))
			}
		})
	}
	waits.Wait()
	return context.Cause(ctx)
}

func killAll(all []*process) {
	for _, p := range all {
		p.kill()
	}
}

// school starts a process of companions.
func (w *swarm) school(name string, first, count int, seed uint64) (*process, error) {
	return startChild("swarm-school", "--engine", w.engine.Endpoint(), "--name", name, "--first", fmt.Sprint(first), "--count", fmt.Sprint(count),
		"--others", fmt.Sprint(w.options.companions), "--whale", fmt.Sprint(whaleIn(w.result.Budget, w.options.companions)),
		"--seed", fmt.Sprint(w.options.seed^seed<<32|1))
}

// watch looks on until the time is over and enough were killed.
func (w *swarm) watch(ctx context.Context, began time.Time, stopped <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := time.Time{}
	for ctx.Err() == nil {
		w.mu.Lock()
		enough := time.Since(began) >= w.options.lasting && w.killed >= w.options.kills || len(w.result.Failures) > 0
		w.mu.Unlock()
		if enough {
			select {
			case <-stopped:
				return
			default:
			}
		}
		<-tick.C
		w.result.Most = max(w.result.Most, w.engine.Stats().Used)
		if time.Since(last) > time.Second { // it takes a while
			last = time.Now()
			u := usage()
			w.result.MostShared = max(w.result.MostShared, u.shared)
			w.result.Resident = max(w.result.Resident, u.private)
			w.result.Threads = max(w.result.Threads, u.threads)
		}
	}
}

// kill starts processes and kills them in the middle of their work, some at a time,
// until over.
func (w *swarm) kill(ctx context.Context) {
	for slot := range killers {
		rng := rand.New(rand.NewPCG(w.options.seed, uint64(slot)+100))
		w.killing.Go(func() {
			for w.mayKill() {
				if err := w.victim(ctx, rng); err != nil {
					w.fails(err.Error())
				}
			}
		})
	}
}

// mayKill says whether one more shall be killed.
func (w *swarm) mayKill() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.result.Failures) > 0 || w.aborted.Load() || w.options.kills > 0 && w.started >= w.options.kills || w.options.kills == 0 && w.over.Load() {
		return false
	}
	w.started++
	return true
}

// victim starts a process, kills it, and waits until nothing of it is left in
// the engine.
func (w *swarm) victim(ctx context.Context, rng *rand.Rand) error {
	count := 1 + rng.IntN(victimsMost)
	p, err := w.school(fmt.Sprintf("victim%d", rng.Uint64()), 0, count, rng.Uint64())
	if err != nil {
		return err
	}
	pid := p.cmd.Process.Pid
	if err := p.awaitReady(ctx); err != nil {
		p.kill()
		return unlessInterrupted(ctx, fmt.Errorf("a process that was to be killed %w", err))
	}
	p.tell("go\n")
	time.Sleep(time.Duration(rng.IntN(20_000)) * time.Microsecond)
	from := time.Now()
	p.kill()
	defer w.journal.forget(pid)
	for end := time.Now().Add(settleTime); w.journal.departed(pid).count < count; time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			return fmt.Errorf("of %d companions of a killed process %d are still there after %v", count, count-w.journal.departed(pid).count, settleTime)
		}
	}
	gone := w.journal.departed(pid).last
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killed++
	w.dying = append(w.dying, p.died.Sub(from).Seconds())
	w.reclaims = append(w.reclaims, max(0, gone.Sub(p.died).Seconds())) // some of it is done while the process still ends
	w.whole = append(w.whole, gone.Sub(from).Seconds())
	return nil
}

// unlessInterrupted is nil once the user wants no more.
func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// fails notes what must not be.
func (w *swarm) fails(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.Failures = append(w.result.Failures, what)
}

// unleash starts a process for each way to break the rules.
func (w *swarm) unleash() (all []*process, err error) {
	for i, kind := range w.options.mischief {
		p, err := startChild("swarm-hostile", "--engine", w.engine.Endpoint(), "--kind", kind,
			"--prefix", hostilePrefix+kind+"-", "--seed", fmt.Sprint(w.options.seed^uint64(i)<<16|1))
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	for i, p := range all { // it has nothing to wait for
		if err := p.awaitReady(context.Background()); err != nil {
			return all, fmt.Errorf("the process of %s %w", w.options.mischief[i], err)
		}
	}
	return all, nil
}

// recall ends the hostile processes and notes what became of them.
func (w *swarm) recall(all []*process, late time.Time) error {
	for _, p := range all {
		_ = p.finish()
	}
	for i, p := range all {
		kind := w.options.mischief[i]
		if !p.ends(time.Until(late)) {
			w.fails(fmt.Sprintf("the process of %s did not end", kind))
		}
		r := hostileResult{Name: kind, Reasons: w.journal.dropped(p.cmd.Process.Pid)}
		for _, m := range mischiefs() {
			r.breach = r.breach || m.name == kind && m.breach
		}
		if t, ok := lastLine[toll](p); ok {
			r.Attacks, r.HungUp = t.Attacks, t.HungUp
		}
		w.result.Hostile = append(w.result.Hostile, r)
	}
	return nil
}

// stop starts a process of companions, stops it for a while, and lets it go on:
// it must not be taken for dead.
func (w *swarm) stop(ctx context.Context) error {
	if w.options.stop <= 0 {
		return nil
	}
	p, err := w.school("stopped", 0, stoppedMost, 1<<20)
	if err != nil {
		return err
	}
	if err := p.awaitReady(ctx); err != nil {
		p.kill()
		return unlessInterrupted(ctx, fmt.Errorf("the process that was to be stopped %w", err))
	}
	w.mu.Lock()
	w.sleeper = p.cmd.Process.Pid
	w.mu.Unlock()
	p.tell("go\n")
	time.Sleep(100 * time.Millisecond)
	if err := suspend(p.cmd.Process); err != nil {
		p.kill()
		return err
	}
	from := time.Now()
	for time.Since(from) < w.options.stop && !w.aborted.Load() {
		time.Sleep(10 * time.Millisecond)
	}
	w.result.Stopped = time.Since(from).Seconds()
	if n := w.journal.departed(p.cmd.Process.Pid).count; n > 0 {
		w.fails(fmt.Sprintf("%d stopped companions were taken for dead", n))
	}
	if err := resume(p.cmd.Process); err != nil {
		p.kill()
		return err
	}
	time.Sleep(100 * time.Millisecond) // it works again
	p.tell("stop\n")
	return w.disband([]*process{p}, time.Now().Add(settleTime))
}

// disband waits until companions are done, but not beyond late, ends their processes
// and takes their tallies.
func (w *swarm) disband(schools []*process, late time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), late) // whoever wants no more still wants their tallies
	defer cancel()
	for _, s := range schools {
		if s.says(ctx, sayDone) != nil {
			w.fails("companions did not end what they did")
			whereabouts("the engine's process")
		}
	}
	var err error
	for _, s := range schools {
		_ = s.finish()
		if !s.ends(max(time.Until(late), endTime)) {
			err = errors.New("a process of companions had to be killed")
		}
		t, told := lastLine[tally](s)
		w.add(s.cmd.Process.Pid, t, told)
	}
	return err
}

// add takes a tally into the result.
func (w *swarm) add(pid int, t tally, told bool) {
	if !told {
		w.fails("a process of companions ended without a word")
	}
	if t.Error != "" {
		w.fails(t.Error)
	}
	for reason := range w.journal.dropped(pid) {
		w.fails("a companion that did nothing wrong was dropped: " + reason)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &w.result
	r.Checked, r.Bytes = r.Checked+t.Received, r.Bytes+t.Bytes
	r.Wrong, r.NoMemory = r.Wrong+t.Wrong, r.NoMemory+t.NoMemory
	for i, sent := range t.Sent {
		r.Lost += sent - t.Answered[i]
	}
	if pid != w.sleeper { // it had less time than the others
		r.served = append(r.served, t.Answered...)
		r.Slowest = max(r.Slowest, t.Slowest)
	}
}

// sum puts the counters of the engine's side and the order of times in.
func (w *swarm) sum() {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &w.result
	r.Checked, r.Bytes, r.Wrong = r.Checked+w.checker.checked.Load(), r.Bytes+w.checker.bytes.Load(), r.Wrong+w.checker.wrong.Load()
	if slices.Sort(r.served); len(r.served) > 0 {
		r.Served = [3]int64{r.served[0], r.served[len(r.served)/2], r.served[len(r.served)-1]}
	}
	if r.Killed = w.killed; r.Killed > 0 {
		r.Dying, r.Reclaim, r.Whole = spread(w.dying), spread(w.reclaims), spread(w.whole)
	}
}

// spread is the middle, the 99th percentile and the largest of some figures.
func spread(all []float64) [3]float64 {
	slices.Sort(all)
	n := len(all)
	return [3]float64{all[n/2], all[n*99/100], all[n-1]}
}

// count notes what the engine still holds once everybody is gone.
func (w *swarm) count() error {
	for end := time.Now().Add(settleTime); ; time.Sleep(time.Millisecond) {
		st := w.engine.Stats()
		w.result.Blocks, w.result.Registered = st.Used, len(st.Companions)
		if st.Used == 0 && len(st.Companions) == 0 || time.Now().After(end) {
			return nil
		}
	}
}

// lastLine is the last object that a process has printed.
func lastLine[T any](p *process) (t T, ok bool) {
	for line := range bytes.Lines(p.out.bytes()) {
		var next T
		if json.Unmarshal(line, &next) == nil {
			t, ok = next, true
		}
	}
	return t, ok
}
