package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"berth/ipc"
)

// largestCatch is the largest message of a swarm, in bytes.
const largestCatch = 256 << 10

// schoolOptions are the flags of `swarm-school`.
type schoolOptions struct {
	engine, prefix string
	companions     int
	seed           uint64
}

func (s *simulator) schoolCommand() *cobra.Command {
	var o schoolOptions
	c := command("swarm-school", "One process of `swarm`", cobra.NoArgs)
	c.Hidden = true
	f := c.Flags()
	f.StringVar(&o.engine, "engine", "", "")
	f.StringVar(&o.prefix, "prefix", "", "")
	f.IntVar(&o.companions, "companions", 1, "")
	f.Uint64Var(&o.seed, "seed", 1, "")
	c.RunE = func(c *cobra.Command, _ []string) error { return s.school(c.Context(), o) }
	return c
}

// school registers its companions, says so, sends until standard input ends, and
// tells what it sent.
func (s *simulator) school(ctx context.Context, o schoolOptions) error {
	var over atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		over.Store(true)
	}()
	var fish []*fish
	for i := range o.companions {
		f, err := newFish(ctx, o, i)
		if err != nil {
			return err
		}
		defer f.client.Close()
		fish = append(fish, f)
	}
	fmt.Fprintln(s.out, "ready")
	var all sync.WaitGroup
	for _, f := range fish {
		all.Go(func() { f.swim(ctx, &over) })
	}
	all.Wait()
	var sum tally
	var failed error
	for _, f := range fish {
		sum.Sent, sum.Answered, sum.Wrong = sum.Sent+f.Sent, sum.Answered+f.Answered, sum.Wrong+f.Wrong
		if f.err != nil {
			failed = f.err
		}
	}
	if err := json.NewEncoder(s.out).Encode(sum); err != nil {
		return err
	}
	return failed
}

// fish is one companion of a swarm. Only its own goroutine uses it.
type fish struct {
	tally
	client  *ipc.Client
	session *ipc.Session
	rng     *rand.Rand
	noise   *rand.ChaCha8
	err     error
}

func newFish(ctx context.Context, o schoolOptions, i int) (*fish, error) {
	c, err := ipc.Dial(ctx, o.engine, fmt.Sprintf("%s%d", o.prefix, i))
	if err != nil {
		return nil, err
	}
	s, err := c.Open(ctx, ipc.Controller+"/check", nil)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	var seed [32]byte
	copy(seed[:], fmt.Sprint(o.seed, i))
	return &fish{client: c, session: s, rng: rand.New(rand.NewPCG(o.seed, uint64(i))), noise: rand.NewChaCha8(seed)}, nil
}

func (f *fish) swim(ctx context.Context, over *atomic.Bool) {
	for f.err == nil && !over.Load() {
		f.Sent++
		f.err = f.send(ctx)
	}
}

// send sends noise behind its hash, and compares the hash that comes back.
func (f *fish) send(ctx context.Context) error {
	p, err := f.session.Alloc(ctx, sha256.Size+1+f.rng.IntN(largestCatch))
	if err != nil {
		return err
	}
	body := p.Bytes()[sha256.Size:]
	_, _ = f.noise.Read(body) // never fails
	sum := sha256.Sum256(body)
	copy(p.Bytes(), sum[:])
	m, err := f.session.Call(ctx, p)
	if err != nil {
		return err
	}
	f.Answered++
	if !bytes.Equal(m.Bytes(), sum[:]) {
		f.Wrong++
	}
	m.Release()
	return nil
}
