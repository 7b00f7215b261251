package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"berth/ipc"
)

const (
	largestCatch = 256 << 10 // bytes of the largest message of every day
	largestWhale = 6 << 20   // bytes of the largest that is sent now and then
	whaleEvery   = 64        // messages
	whaleSwarm   = 64        // companions, beyond whom none is sent
	loyalty      = 32        // messages to one companion before the next
)

// whaleIn is how large the messages may be that companions send now and then; 0: there
// are none. A parcel is half of the budget at most.
func whaleIn(budget int64, companions int) int {
	whale := min(largestWhale, budget/2-sha256.Size)
	if companions > whaleSwarm || whale <= largestCatch {
		return 0
	}
	return int(whale)
}

// checker answers messages with the hash of what arrived; the first 32 bytes of
// each say what it should be.
type checker struct{ checked, bytes, wrong atomic.Int64 }

func (c *checker) check(ctx context.Context, s *ipc.Session) {
	for {
		m, err := s.Recv(ctx)
		if errors.Is(err, ipc.ErrStarved) { // its next message waits
			continue
		}
		if err != nil {
			return
		}
		err = c.answer(ctx, s, m)
		m.Release() // also on an error: a lease that is kept keeps the block
		if err != nil {
			return
		}
	}
}

// answer counts what honest companions send; others may send what they like.
func (c *checker) answer(ctx context.Context, s *ipc.Session, m *ipc.Message) error {
	if len(m.Bytes()) < sha256.Size {
		return s.Fail("there is no hash")
	}
	sum := sha256.Sum256(m.Bytes()[sha256.Size:])
	if !isHostile(s.Peer()) {
		c.checked.Add(1)
		c.bytes.Add(int64(len(m.Bytes())))
		if !bytes.Equal(sum[:], m.Bytes()[:sha256.Size]) {
			c.wrong.Add(1)
		}
	}
	if !m.Request() {
		return nil
	}
	return answerWith(ctx, s, m, sum[:])
}

func answerWith(ctx context.Context, s *ipc.Session, m *ipc.Message, b []byte) error {
	p, err := s.Alloc(ctx, len(b))
	if err != nil {
		return err
	}
	copy(p.Bytes(), b)
	return s.Reply(ctx, m, p)
}

// hostilePrefix begins the names of companions that break the rules.
const hostilePrefix = "hostile-"

func isHostile(name string) bool { return strings.HasPrefix(name, hostilePrefix) }

// fish is one honest companion of a swarm. Only its own goroutine uses it.
type fish struct {
	client                          *ipc.Client
	home                            *ipc.Session // to the controller
	away                            *ipc.Session // to another companion, or nil
	others                          int
	whale                           int // bytes of its largest message; 0: none is sent whole
	rng                             *rand.Rand
	noise                           *rand.ChaCha8
	err                             error
	sent, answered, wrong, noMemory int64
	slowest                         time.Duration
}

func newFish(ctx context.Context, o schoolOptions, i int, check *checker) (*fish, error) {
	name := fishName(o.first + i)
	if o.name != "" {
		name = fmt.Sprintf("%s.%d", o.name, i)
	}
	c, err := ipc.Dial(ctx, o.engine, name)
	if err != nil {
		return nil, err
	}
	c.Handle("check", check.check)
	s, err := c.Open(ctx, ipc.Controller+"/check", nil)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	var seed [32]byte
	copy(seed[:], fmt.Sprint(o.seed, i))
	return &fish{
		client: c, home: s, others: o.others, whale: o.whale,
		rng: rand.New(rand.NewPCG(o.seed, uint64(i))), noise: rand.NewChaCha8(seed),
	}, nil
}

func (f *fish) swim(ctx context.Context, over *atomic.Bool) {
	for f.err == nil && !over.Load() {
		from := time.Now()
		f.err = f.send(ctx)
		f.slowest = max(f.slowest, time.Since(from))
	}
}

// send sends noise behind its hash, and compares the hash that comes back.
func (f *fish) send(ctx context.Context) error {
	s, err := f.session(ctx)
	if err != nil {
		return err
	}
	p, err := s.Alloc(ctx, sha256.Size+1+f.size())
	if errors.Is(err, ipc.ErrNoMemory) {
		f.noMemory++
		return nil
	}
	if err != nil {
		return err
	}
	body := p.Bytes()[sha256.Size:]
	_, _ = f.noise.Read(body) // never fails
	sum := sha256.Sum256(body)
	copy(p.Bytes(), sum[:])
	f.sent++ // from here on it can be lost
	m, err := s.Call(ctx, p)
	if errors.Is(err, ipc.ErrNoMemory) { // the other companion has no room
		f.noMemory++
		f.sent--
		f.away = nil
		return s.Close()
	}
	if err != nil {
		return fmt.Errorf("a message to %s: %w", s.Peer(), err)
	}
	f.answered++
	if !bytes.Equal(m.Bytes(), sum[:]) {
		f.wrong++
	}
	m.Release()
	return nil
}

// size is mostly small and now and then large enough to travel as a whole.
func (f *fish) size() int {
	if f.whale > 0 && f.rng.IntN(whaleEvery) == 0 {
		return f.rng.IntN(f.whale)
	}
	return f.rng.IntN(largestCatch)
}

// session is the one to the controller or, half of the time, to another
// companion; that one changes now and then.
func (f *fish) session(ctx context.Context) (*ipc.Session, error) {
	if f.others < 2 || f.rng.IntN(2) == 0 {
		return f.home, nil
	}
	if f.away == nil || f.rng.IntN(loyalty) == 0 {
		if f.away != nil {
			_ = f.away.Close()
		}
		var err error
		if f.away, err = f.client.Open(ctx, fishName(f.rng.IntN(f.others))+"/check", nil); err != nil {
			return nil, fmt.Errorf("open a session: %w", err)
		}
	}
	return f.away, nil
}
