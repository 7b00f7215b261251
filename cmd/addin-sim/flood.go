package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"berth/ipc"
	"berth/session"
)

const (
	calmCompanions = 4
	calmSize       = 4 << 10              // bytes of a request of theirs
	calmPause      = 2 * time.Millisecond // between an answer and the next request
	flatterSize    = 64                   // bytes of a message of the flooder of small ones
	giantSize      = 64 << 20             // bytes of a parcel of the flooder of large ones
	smallBurst     = 1000                 // messages until an answer is waited for
	largeBurst     = 2
)

// Roles of processes in a measurement of fairness.
const (
	roleCalm   = "calm"
	roleSmall  = "small"
	roleLarge  = "large"
	roleEngine = "engine"
	roleHog    = "hog" // burns a core and has nothing to do with the engine
)

// floodResult is how long calm companions waited for answers, and what those beside
// them got through.
type floodResult struct {
	Beside   string  `json:"beside"`
	Requests int     `json:"requests"` // of the calm ones; 0: there were none
	P50      float64 `json:"p50_microseconds"`
	P99      float64 `json:"p99_microseconds"`
	Small    float64 `json:"flood_messages_per_second"`
	Large    float64 `json:"flood_bytes_per_second"`
}

// print writes a row of the table, with how many times as long as beside nobody and beside
// those that burn cores; what was not there, or is not measured yet, is a dash.
func (r *floodResult) print(out io.Writer, quiet, burnt float64) error {
	line := fmt.Sprintf("%-42s", r.Beside)
	for _, f := range []float64{r.P50, r.P99, r.P99 / quiet, r.P99 / burnt, r.Small / 1e6, r.Large / 1e9} {
		cell := "-"
		if f > 0 && !math.IsInf(f, 0) {
			cell = fmt.Sprintf("%.2f", f)
		}
		line += fmt.Sprintf(" %9s", cell)
	}
	_, err := fmt.Fprintln(out, line)
	return err
}

// floodPhase is who works at a time.
type floodPhase struct {
	name  string
	roles []string // beside the calm ones
	calm  int
}

func floodPhases() []floodPhase {
	return []floodPhase{
		{"nobody", nil, calmCompanions},
		{"two programs that only burn a core each", []string{roleHog, roleHog}, calmCompanions},
		{"a flood of 64-byte messages", []string{roleSmall}, calmCompanions},
		{"a flood of 64 MiB parcels", []string{roleLarge}, calmCompanions},
		{"both floods", []string{roleSmall, roleLarge}, calmCompanions},
		{"a flood of 64-byte messages, alone", []string{roleSmall}, 0},
		{"a flood of 64 MiB parcels, alone", []string{roleLarge}, 0},
	}
}

// deeds is what a process of a measurement tells of itself.
type deeds struct {
	Waits   []float64 `json:"waits"` // for answers, in microseconds
	Sent    int64     `json:"sent"`  // messages of a flood
	Seconds float64   `json:"seconds"`
}

// rate is in messages a second; who was told to stop before it began has none.
func (d deeds) rate() float64 {
	if d.Seconds <= 0 { // by a coarse clock
		return 0
	}
	return float64(d.Sent) / d.Seconds
}

// flood measures how a few companions with little to say fare beside others that
// send all they can.
func (s *simulator) flood(ctx context.Context, each time.Duration, asJSON bool) error {
	engine, err := startChild("bench-flood", "--role", roleEngine)
	if err != nil {
		return err
	}
	defer func() {
		_ = engine.finish()
		engine.ends(settleTime)
	}()
	if err := engine.awaitReady(ctx); err != nil {
		return cmp.Or(interrupted(ctx, "the start of the engine"), fmt.Errorf("the engine %w", err))
	}
	endpoint, ok := lastLine[string](engine)
	if !ok {
		return errors.New("the engine did not say where it is")
	}
	if !asJSON {
		fmt.Fprintf(s.out, "%d companions ask for an answer to %d bytes every %v, beside …\n\n%-42s %9s %9s %9s %9s %9s %9s\n",
			calmCompanions, calmSize, calmPause, "", "p50, µs", "p99, µs", "x nobody", "x burners", "M/s", "GB/s")
	}
	var quiet, burnt float64
	for _, phase := range floodPhases() {
		r, err := phase.measure(ctx, endpoint, each)
		if ctx.Err() != nil { // what was measured till then is no row
			return interrupted(ctx, "the row beside "+phase.name)
		}
		if err != nil {
			return fmt.Errorf("beside %s: %w", phase.name, err)
		}
		switch {
		case len(phase.roles) == 0:
			quiet = r.P99
		case phase.roles[0] == roleHog:
			burnt = r.P99
		}
		if asJSON {
			err = json.NewEncoder(s.out).Encode(r)
		} else {
			err = r.print(s.out, quiet, burnt)
		}
		if err != nil {
			return err
		}
	}
	if !asJSON {
		fmt.Fprintln(s.out, "\nThose that burn cores have nothing to do with the engine: what a wait beside them lasts is the system's scheduler.")
	}
	return nil
}

// measure lets the calm ones and others work for a while.
func (f floodPhase) measure(ctx context.Context, endpoint string, each time.Duration) (r floodResult, err error) {
	var all []*process
	roles := slices.Clone(f.roles)
	for i := range f.calm {
		roles = append(roles, fmt.Sprint(roleCalm, i))
	}
	defer func() {
		for _, p := range all {
			_ = p.finish()
			p.ends(settleTime)
		}
	}()
	for i, role := range roles {
		p, err := startChild("bench-flood", "--engine", endpoint, "--role", role, "--name", fmt.Sprint(role, "-", i))
		if err != nil {
			return r, err
		}
		all = append(all, p)
	}
	for _, p := range all {
		if err := p.awaitReady(ctx); err != nil {
			return r, fmt.Errorf("a process %w", err)
		}
	}
	for _, p := range all {
		p.tell("go\n")
	}
	select {
	case <-time.After(each):
	case <-ctx.Done():
		return r, context.Cause(ctx)
	}
	return f.tally(all, roles)
}

// tally ends the processes and puts together what they tell.
func (f floodPhase) tally(all []*process, roles []string) (r floodResult, err error) {
	r.Beside = f.name
	var waits []float64
	for i, p := range all {
		_ = p.finish()
		if !p.ends(settleTime) {
			return r, errors.New("a process did not end")
		}
		did, ok := lastLine[deeds](p)
		if !ok {
			return r, errors.New("a process ended without a word")
		}
		waits = append(waits, did.Waits...)
		switch roles[i] {
		case roleSmall:
			r.Small = did.rate()
		case roleLarge:
			r.Large = giantSize * did.rate()
		}
	}
	if len(waits) == 0 {
		if f.calm > 0 {
			err = errors.New("nobody was answered")
		}
		return r, err
	}
	slices.Sort(waits)
	r.Requests, r.P50, r.P99 = len(waits), waits[len(waits)/2], waits[len(waits)*99/100]
	return r, nil
}

// floodOptions are the flags of `bench-flood`.
type floodOptions struct{ engine, role, name string }

func (s *simulator) floodCommand() *cobra.Command {
	var o floodOptions
	c := child("bench-flood", "One process of `bench --flood`", func(ctx context.Context) error { return s.floodRole(ctx, o) })
	f := c.Flags()
	f.StringVar(&o.engine, "engine", "", "")
	f.StringVar(&o.role, "role", "", "")
	f.StringVar(&o.name, "name", "", "")
	return c
}

// floodEngine is the engine in a process of its own, as a controller is, until
// standard input ends.
func (s *simulator) floodEngine() error {
	ipc.Tune()
	sess, err := session.Named(fmt.Sprintf("flood%d", os.Getpid()))
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
	engine.Handle("copy", func(ctx context.Context, s *ipc.Session) { serveMemory(ctx, s, true) })
	if err := json.NewEncoder(s.out).Encode(engine.Endpoint()); err != nil {
		return err
	}
	fmt.Fprintln(s.out, sayReady)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return engine.Close()
}

// floodRole registers, waits for a line, works until standard input ends, and
// tells how long it waited for answers.
func (s *simulator) floodRole(ctx context.Context, o floodOptions) error {
	if o.role == roleEngine {
		return s.floodEngine()
	}
	c, err := ipc.Dial(ctx, o.engine, o.name)
	if err != nil {
		return err
	}
	defer c.Close()
	session, err := c.Open(ctx, ipc.Controller+"/copy", nil)
	if err != nil {
		return err
	}
	w, b := &memoryWay{ctx, session}, written(payloadOf(o.role))
	fmt.Fprintln(s.out, sayReady)
	in := bufio.NewReader(os.Stdin)
	_, _ = in.ReadString('\n')
	var over atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, in)
		over.Store(true)
		time.Sleep(settleTime / 2)
		whereabouts(o.name) // it should have ended long ago
	}()
	did, err := act(w, o.role, b, &over)
	if err != nil {
		return err
	}
	return json.NewEncoder(s.out).Encode(did)
}

// payloadOf is how many bytes a process of that role sends from, or works on.
func payloadOf(role string) int {
	if role == roleLarge {
		return giantSize
	}
	return 64 << 10
}

func act(w *memoryWay, role string, b []byte, over *atomic.Bool) (did deeds, err error) {
	began := time.Now()
	for n := 0; !over.Load() && err == nil; n++ {
		switch role {
		case roleHog:
			for i := range b {
				b[i] = byte(n)
			}
		case roleSmall:
			did.Sent += smallBurst
			err = w.send(b[:flatterSize], smallBurst)
		case roleLarge:
			did.Sent += largeBurst
			err = w.send(b, largeBurst)
		default:
			from := time.Now()
			if err = w.call(b, calmSize); err == nil {
				did.Waits = append(did.Waits, micro(time.Since(from)))
			}
			time.Sleep(calmPause)
		}
	}
	did.Seconds = time.Since(began).Seconds()
	return did, err
}
