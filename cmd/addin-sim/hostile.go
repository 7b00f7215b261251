package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"berth/ipc"
)

// vandal is a process that breaks the rules of the protocol in one way, again and
// again. Only its own goroutine uses it.
type vandal struct {
	ctx            context.Context
	engine, prefix string
	rng            *rand.Rand
	over           *atomic.Bool
	toll
}

// toll is what a vandal says in the end.
type toll struct {
	Attacks int64 `json:"attacks"` // attempts
	HungUp  int64 `json:"hung_up"` // how many of them the engine ended
}

// mischief is one way to break the rules. A breach must end with the engine
// dropping who did it; the others may only be slowed down.
type mischief struct {
	name   string
	breach bool
	most   int                 // of its companions at a time
	do     func(*vandal) error // one attempt
}

// mischiefs are all the ways that are known here.
func mischiefs() []mischief {
	return []mischief{
		{"frames", true, 1, (*vandal).frames},
		{"records", true, 1, (*vandal).records},
		{"scribbler", true, 1, (*vandal).scribble},
		{"releases", true, 1, (*vandal).releases},
		{"doorbells", false, 1, (*vandal).doorbells},
		{"halves", false, halvesMost, (*vandal).halves},
		{"flood", false, 0, (*vandal).flood},
		{"deaf", false, 1, (*vandal).deaf},
		{"hoarder", false, 1, (*vandal).hoard},
		{"impostor", false, 1, (*vandal).impostor},
	}
}

// halvesMost is how many register halfway at a time.
const halvesMost = 8

// hostileOptions are the flags of `swarm-hostile`.
type hostileOptions struct {
	engine, kind, prefix string
	seed                 uint64
}

func (s *simulator) hostileCommand() *cobra.Command {
	var o hostileOptions
	c := child("swarm-hostile", "One process of `swarm --hostile`", func(ctx context.Context) error { return s.hostile(ctx, o) })
	f := c.Flags()
	f.StringVar(&o.engine, "engine", "", "")
	f.StringVar(&o.kind, "kind", "", "")
	f.StringVar(&o.prefix, "prefix", "", "")
	f.Uint64Var(&o.seed, "seed", 1, "")
	return c
}

// hostile breaks the rules until standard input ends, and tells how often. An
// attempt that fails is what the engine is there for, not an error.
func (s *simulator) hostile(ctx context.Context, o hostileOptions) error {
	ordinaryTurns()
	all := mischiefs()
	i := slices.IndexFunc(all, func(m mischief) bool { return m.name == o.kind })
	if i < 0 {
		return &exitError{2, fmt.Errorf("there is no mischief %q", o.kind)}
	}
	var over atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		over.Store(true)
	}()
	fmt.Fprintln(s.out, sayReady)
	v := &vandal{ctx: ctx, engine: o.engine, prefix: o.prefix, rng: rand.New(rand.NewPCG(o.seed, 1)), over: &over}
	for !over.Load() && ctx.Err() == nil {
		v.Attacks++
		if err := all[i].do(v); err != nil {
			v.pause(5 * time.Millisecond) // refused, or no descriptors left
		}
	}
	return json.NewEncoder(s.out).Encode(v.toll)
}

func (v *vandal) pause(most time.Duration) {
	time.Sleep(time.Duration(v.rng.Int64N(int64(most))))
}

func (v *vandal) name() string { return fmt.Sprintf("%s%d", v.prefix, v.Attacks) }

// registered is a wire that plays by the rules so far.
func (v *vandal) registered() (*wire, error) {
	w, err := dialWire(v.engine)
	if err != nil {
		return nil, err
	}
	if err := w.register(v.name(), 3); err != nil {
		w.close(false)
		return nil, err
	}
	w.listen()
	return w, nil
}

// until repeats one act until the engine hangs up, the act fails, or it has been
// done often enough.
func (v *vandal) until(w *wire, most int, act func() error) {
	defer w.close(true)
	for range most {
		if w.hungUp() {
			v.HungUp++
			return
		}
		if v.over.Load() || act() != nil {
			break
		}
	}
	select {
	case <-w.gone:
		v.HungUp++
	case <-time.After(100 * time.Millisecond): // it puts up with it
	}
}

// frames writes garbage on the control stream, from the first byte or after a
// proper registration.
func (v *vandal) frames() error {
	var w *wire
	var err error
	if v.rng.IntN(2) == 0 {
		w, err = v.registered()
	} else if w, err = dialWire(v.engine); err == nil {
		w.listen()
	}
	if err != nil {
		return err
	}
	v.until(w, 200, func() error {
		if v.rng.IntN(4) == 0 {
			return w.raw(v.noise(v.rng.IntN(300)))
		}
		return w.frame(uint8(v.rng.IntN(20)), v.noise(v.rng.IntN(64)))
	})
	return nil
}

// records puts records into the lane that look like records.
func (v *vandal) records() error {
	w, err := v.registered()
	if err != nil {
		return err
	}
	w.push(v.open(1))
	v.until(w, 10_000, func() error {
		for range 1 + v.rng.IntN(8) {
			w.push(v.record())
		}
		return w.ringAndAwait()
	})
	return nil
}

// open opens a session to the service that checks hashes.
func (v *vandal) open(session uint32) wireRecord {
	address := ipc.Controller + "/check"
	body := append([]byte{byte(len(address))}, address...)
	return newWireRecord(recordOpen, 0, session, 8).inline(append(body, 0))
}

// record is a random one, but not so random that the first check finds it.
func (v *vandal) record() wireRecord {
	sessions := []uint32{0, 1, 1, 1, 2, 3, v.rng.Uint32()}
	r := newWireRecord(uint8(v.rng.IntN(9)), uint8(v.rng.IntN(64)), sessions[v.rng.IntN(len(sessions))], v.rng.Uint32N(4)*v.rng.Uint32N(1<<20))
	if v.rng.IntN(3) == 0 {
		return r.inline(v.noise(v.rng.IntN(inlineSize)))
	}
	if v.rng.IntN(4) == 0 {
		return r.listed(v.rng.IntN(8), 1+v.rng.Uint32N(3), v.rng.Uint32N(3), v.offset())
	}
	return r.at(1+v.rng.Uint32N(3), v.rng.Uint32N(3), v.offset(), v.rng.Uint64N(1<<uint(1+v.rng.IntN(63))))
}

func (v *vandal) offset() uint64 {
	if v.rng.IntN(8) == 0 {
		return v.rng.Uint64()
	}
	return v.rng.Uint64N(1500) * 4096
}

// scribble works as a companion does and writes over its lane and its block all
// the while.
func (v *vandal) scribble() error {
	w, err := v.registered()
	if err != nil {
		return err
	}
	w.push(v.open(1))
	v.until(w, 1<<30, func() error {
		for range 100 {
			v.scrawl(w)
		}
		if v.rng.IntN(4) == 0 {
			return w.ring()
		}
		return w.ringAndAwait()
	})
	return nil
}

// scrawl sends a message out of memory that changes under the reader, or writes
// somewhere.
func (v *vandal) scrawl(w *wire) {
	switch v.rng.IntN(20) {
	case 0:
		w.push(newWireRecord(recordMessage, flagRequest, 1, v.rng.Uint32()).at(1, 1, v.rng.Uint64N(64)*4096, 1+v.rng.Uint64N(1<<20)))
	case 1:
		wordOf(w.lane, v.rng.IntN(laneHead/8)*8).Store(v.rng.Uint64())
	case 2:
		wordOf(w.lane, v.rng.IntN(len(w.lane)/8)*8).Store(v.rng.Uint64N(1 << 34))
	default:
		wordOf(w.out, v.rng.IntN(len(w.out)/8)*8).Store(v.rng.Uint64())
	}
}

// releases gives memory back that it never got.
func (v *vandal) releases() error {
	w, err := v.registered()
	if err != nil {
		return err
	}
	v.until(w, 1000, func() error {
		w.push(newWireRecord(recordRelease, 0, v.rng.Uint32N(3), 0).listed(1+v.rng.IntN(9), 1+v.rng.Uint32N(4), v.rng.Uint32N(3), v.offset()))
		return w.ringAndAwait()
	})
	return nil
}

// doorbells has the engine look at an empty lane all the time.
func (v *vandal) doorbells() error {
	w, err := v.registered()
	if err != nil {
		return err
	}
	many := []byte(strings.Repeat("\x0c\x00\x00\x00\x00\x00\x00\x00", 512))
	v.until(w, 2000, func() error { return w.raw(many) })
	return nil
}

// halves registers up to some stage, several at a time, and hangs up there.
func (v *vandal) halves() error {
	var all []*wire
	defer func() {
		for _, w := range all {
			w.close(false)
		}
	}()
	for i := range 1 + v.rng.IntN(halvesMost) {
		w, err := dialWire(v.engine)
		if err != nil {
			return err
		}
		all = append(all, w)
		if err := w.register(fmt.Sprintf("%s-%d", v.name(), i), v.rng.IntN(3)); err != nil {
			return err
		}
	}
	v.pause(20 * time.Millisecond)
	return nil
}

// flood dials and says nothing.
func (v *vandal) flood() error {
	var all []*wire
	defer func() {
		for _, w := range all {
			w.close(false)
		}
	}()
	for range 256 {
		w, err := dialWire(v.engine)
		if err != nil {
			return err
		}
		all = append(all, w)
	}
	v.pause(100 * time.Millisecond)
	return nil
}

// deaf asks and asks, and reads neither its lane nor the stream.
func (v *vandal) deaf() error {
	w, err := dialWire(v.engine)
	if err != nil {
		return err
	}
	defer w.close(false)
	if err := w.register(v.name(), 3); err != nil {
		return err
	}
	for session := uint32(1); session < 20_000; session += 2 {
		w.push(v.open(session))
		for i := range uint32(8) {
			w.push(newWireRecord(recordMessage, flagRequest, session, i+1).inline(v.noise(inlineSize)))
		}
		w.push(newWireRecord(recordClose, 0, session, 0).inline(nil))
		if v.over.Load() {
			return nil
		}
		if err := w.ringAndAwait(); err != nil && !errors.Is(err, errStuck) { // a lane that is full is what it wants
			v.HungUp++
			return nil
		}
	}
	return nil
}

// hoard wishes for the largest memory there is, over and over, and never uses it.
func (v *vandal) hoard() error {
	w, err := v.registered()
	if err != nil {
		return err
	}
	v.until(w, 100, func() error {
		v.pause(20 * time.Millisecond)
		return w.frame(frameWant, le.AppendUint64(nil, 1<<uint(20+v.rng.IntN(13))))
	})
	return nil
}

// impostor wants to be somebody else.
func (v *vandal) impostor() error {
	names := []string{ipc.Controller, fishName(0), fishName(1), "", "../x", strings.Repeat("n", 65)}
	w, err := dialWire(v.engine)
	if err != nil {
		return err
	}
	defer w.close(false)
	if err := w.register(names[v.rng.IntN(len(names))], 3); err != nil {
		v.HungUp++
	}
	return nil
}

func (v *vandal) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(v.rng.Uint32())
	}
	return b
}
