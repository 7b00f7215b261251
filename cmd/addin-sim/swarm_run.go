package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"berth/ipc"
)

// swarm is one run. Its counters are shared with the engine's handlers, the rest
// belongs to the goroutine of run.
type swarm struct {
	options swarmOptions
	engine  *ipc.Engine
	rng     *rand.Rand

	observer *ipc.Client // looks into the directory

	checked, bytes, wrong atomic.Int64

	number     int
	reclaims   []time.Duration
	lost       int64 // sent by a process that lived, and not answered
	seenWrong  int64 // answered wrongly
	most       int64 // bytes of blocks
	blocks     int64 // bytes of blocks in the end
	registered int   // companions in the end
	left       held
}

// school is a process full of companions, all named by its prefix.
type school struct {
	*process
	prefix string
}

// tally is what a process says in the end.
type tally struct {
	Sent     int64 `json:"sent"`
	Answered int64 `json:"answered"`
	Wrong    int64 `json:"wrong"`
}

// check answers each message with the hash of what arrived; the first 32 bytes
// say what it should be.
func (w *swarm) check(ctx context.Context, s *ipc.Session) {
	for {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		sum := sha256.Sum256(m.Bytes()[sha256.Size:])
		w.checked.Add(1)
		w.bytes.Add(int64(len(m.Bytes())))
		if !bytes.Equal(sum[:], m.Bytes()[:sha256.Size]) {
			w.wrong.Add(1)
		}
		err = answerWith(ctx, s, m, sum[:])
		m.Release() // also on an error: a lease that is kept keeps the block
		if err != nil {
			return
		}
	}
}

func answerWith(ctx context.Context, s *ipc.Session, m *ipc.Message, b []byte) error {
	p, err := s.Alloc(ctx, len(b))
	if err != nil {
		return err
	}
	copy(p.Bytes(), b)
	return s.Reply(ctx, m, p)
}

// run keeps every school alive until the time is over. With kill, every second
// one is killed and replaced over and over.
func (w *swarm) run(ctx context.Context) error {
	schools := make([]*school, w.options.procs)
	for i := range schools {
		s, err := w.start(i)
		if err != nil {
			return err
		}
		schools[i] = s
	}
	for end := time.Now().Add(w.options.lasting); time.Now().Before(end) && ctx.Err() == nil; {
		w.look()
		if !w.options.kill {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		i := w.rng.IntN(len(schools)/2+1) * 2
		if i >= len(schools) {
			continue
		}
		time.Sleep(time.Duration(w.rng.IntN(50)) * time.Millisecond)
		next, err := w.replace(schools[i], i)
		if err != nil {
			return err
		}
		schools[i] = next
	}
	for _, s := range schools {
		w.finish(s)
	}
	return errors.Join(w.settle("school"), w.count())
}

// look notes how much memory the blocks take together.
func (w *swarm) look() {
	var sum int64
	for _, c := range w.observer.Companions() {
		sum += c.BlockBytes
	}
	w.most = max(w.most, sum)
}

func (w *swarm) start(i int) (*school, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w.number++
	s := &school{prefix: fmt.Sprintf("school%d-", w.number)}
	count := w.options.companions / w.options.procs
	if i < w.options.companions%w.options.procs {
		count++
	}
	cmd := exec.Command(self, "swarm-school", "--engine", w.engine.Endpoint(), "--prefix", s.prefix,
		"--companions", fmt.Sprint(count), "--seed", fmt.Sprint(w.rng.Uint64()|1))
	stdin, err := cmd.StdinPipe() // its end is the sign to finish
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	s.process, err = start(cmd)
	if err == nil {
		s.finish = stdin.Close
	}
	return s, err
}

// replace kills a school and waits until nothing of it is left in the engine.
func (w *swarm) replace(s *school, i int) (*school, error) {
	select {
	case <-s.out.line: // all of its companions are registered and send
	case <-s.done:
		return nil, fmt.Errorf("a process of companions has ended by itself: %s", s.cmd.ProcessState)
	}
	s.kill()
	from := time.Now() // the process is gone; how long that took is the system's affair
	if err := w.settle(s.prefix); err != nil {
		return nil, err
	}
	w.reclaims = append(w.reclaims, time.Since(from))
	return w.start(i)
}

// finish lets a school end what it is doing and takes its tally.
func (w *swarm) finish(s *school) {
	_ = s.finish()
	<-s.done
	for line := range bytes.Lines(s.out.bytes()) {
		var t tally
		if json.Unmarshal(line, &t) == nil {
			w.lost += t.Sent - t.Answered
			w.seenWrong += t.Wrong
			return
		}
	}
	w.lost++ // a process that lived and told nothing
}

// settle waits until no companion whose name begins with prefix is registered. It
// looks into the directory, as any companion can, without asking the engine.
func (w *swarm) settle(prefix string) error {
	for end := time.Now().Add(settleTime); ; time.Sleep(200 * time.Microsecond) {
		left := 0
		for _, c := range w.observer.Companions() {
			if strings.HasPrefix(c.Name, prefix) {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d dead companions are still registered after %v", left, settleTime)
		}
	}
}

// count notes what the engine still holds once everybody is gone.
func (w *swarm) count() error {
	if err := w.observer.Close(); err != nil {
		return err
	}
	for end := time.Now().Add(settleTime); ; time.Sleep(time.Millisecond) {
		st := w.engine.Stats()
		if w.blocks, w.registered = st.Used, len(st.Companions); w.blocks == 0 && w.registered == 0 || time.Now().After(end) {
			return nil
		}
	}
}
