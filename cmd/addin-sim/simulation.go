package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"berth/portshare"
	"berth/session"
)

// simulation is a set of sessions of this user that live side by side. Only its
// own goroutine uses it.
type simulation struct {
	options          switchOptions
	dir              string // state, configuration and payloads of all sessions
	self, controller string // programs
	rng              *rand.Rand
	worlds           []*world
}

// world is one session. An epoch of it begins with its first participant and
// ends when all of them are killed together; within an epoch the port must stay.
type world struct {
	name     string
	session  session.Session
	env      []string
	anchor   *process   // a companion that stays for the epoch, as a mail program does
	running  []*process // started in this round
	payloads map[string]bool

	// Of this epoch:
	port        int
	pids        map[int]bool   // controllers seen
	generations map[uint64]int // the controller of each
	killed      map[int]bool   // processes killed

	whole     bool // all was killed in this round
	everyPID  map[int]bool
	accepted  map[string]string // job → payload
	delivered int
	breaches  []string
}

// payload is a file that belongs to one session.
type payload struct{ path, sha256 string }

func (w *world) breach(format string, args ...any) {
	w.breaches = append(w.breaches, fmt.Sprintf(format, args...))
}

func newSimulation(o switchOptions) (*simulation, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	controller, err := session.Controller()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "addin-sim-switch-")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), nil, 0o600); err != nil {
		return nil, err
	}
	s := &simulation{options: o, dir: dir, self: self, controller: controller, rng: rand.New(rand.NewPCG(o.seed, 0))}
	for i := range o.sessions {
		w, err := s.newWorld(i + 1)
		if err != nil {
			return nil, err
		}
		s.worlds = append(s.worlds, w)
	}
	return s, nil
}

func (s *simulation) newWorld(number int) (*world, error) {
	w := &world{
		name:     fmt.Sprintf("sim%d-%d", os.Getpid(), number),
		payloads: map[string]bool{}, everyPID: map[int]bool{}, accepted: map[string]string{},
	}
	w.newEpoch()
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "BERTH_SESSION=") && !strings.HasPrefix(v, "BERTH_STATE=") && !strings.HasPrefix(v, "BERTH_CONFIG=") {
			w.env = append(w.env, v)
		}
	}
	w.env = append(w.env, "BERTH_SESSION="+w.name, "BERTH_KEYRING=off",
		"BERTH_STATE="+filepath.Join(s.dir, "state"), "BERTH_CONFIG="+filepath.Join(s.dir, "config.toml"))
	var err error
	w.session, err = session.Named(w.name)
	return w, err
}

func (w *world) newEpoch() {
	w.port, w.anchor = 0, nil
	w.pids, w.killed, w.generations = map[int]bool{}, map[int]bool{}, map[uint64]int{}
}

// round starts everything in random order, kills at random, and checks.
func (s *simulation) round(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	steps := s.plan(n)
	s.rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	for _, step := range steps {
		step()
	}
	for _, w := range s.worlds {
		w.awaitAnchor(ctx)
	}
	s.killSome(ctx)
	for _, w := range s.worlds {
		s.settle(ctx, w)
	}
	s.comparePorts()
}

// plan lists what starts in a round. Whichever comes first in a session lives
// until its anchor is there, so that an epoch never has a gap.
func (s *simulation) plan(round int) (steps []func()) {
	for _, w := range s.worlds {
		w.running, w.whole, w.delivered = nil, false, 0
		if w.anchor == nil {
			steps = append(steps, func() { w.anchor = s.spawn(w, s.self, "port", "--hold", "1h") })
		}
		controllers := s.options.controllers
		if controllers < 0 {
			controllers = s.rng.IntN(3)
		}
		for range controllers {
			steps = append(steps, func() { w.run(s.spawn(w, s.controller, "run", "--no-tray")) })
		}
		for i := range s.options.addins {
			steps = append(steps, s.companion(w, fmt.Sprintf("%s-%d-%d.bin", w.name, round, i)))
		}
	}
	return steps
}

// companion prepares a companion and what it hands over.
func (s *simulation) companion(w *world, name string) func() {
	file, err := s.newPayload(name)
	if err != nil {
		w.breach("no payload: %v", err)
		return func() {}
	}
	w.payloads[file.sha256] = true
	args := []string{"member", file.path}
	if s.rng.IntN(2) == 0 {
		args = append(args, "--memory")
	}
	return func() {
		if p := s.spawn(w, s.self, args...); p != nil {
			p.file = file
			w.run(p)
		}
	}
}

// newPayload writes up to 256 KiB that no other payload equals.
func (s *simulation) newPayload(name string) (payload, error) {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(s.rng.UintN(256))
	}
	data := make([]byte, 1+s.rng.IntN(256<<10))
	_, _ = io.ReadFull(rand.NewChaCha8(seed), data)
	data = append(data, name...)
	sum := sha256.Sum256(data)
	path := filepath.Join(s.dir, name)
	return payload{path, hex.EncodeToString(sum[:])}, os.WriteFile(path, data, 0o600)
}

func (s *simulation) spawn(w *world, program string, args ...string) *process {
	cmd := exec.Command(program, args...)
	cmd.Env = w.env
	p, err := start(cmd)
	if err != nil {
		w.breach("cannot start %s: %v", filepath.Base(program), err)
	}
	return p
}

func (w *world) run(p *process) {
	if p != nil {
		w.running = append(w.running, p)
	}
}

// awaitAnchor waits until the anchor knows the port, and notes it.
func (w *world) awaitAnchor(ctx context.Context) {
	if w.anchor == nil {
		return
	}
	select {
	case <-w.anchor.out.line:
		var port int
		_, _ = fmt.Sscan(string(w.anchor.out.bytes()), &port)
		w.sawPort(port)
	case <-w.anchor.done:
		w.breach("the companion that stays has ended: %s", w.anchor.cmd.ProcessState)
	case <-ctx.Done():
		w.breach("no port within %v", roundTime)
	}
}

// killSome kills controllers and companions of random sessions at random
// moments, and now and then a whole session.
func (s *simulation) killSome(ctx context.Context) {
	for range s.options.sessions * (2 + s.options.addins/10) {
		w := s.worlds[s.rng.IntN(len(s.worlds))]
		what, pause := s.rng.IntN(10), time.Duration(s.rng.IntN(60))*time.Millisecond
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		switch {
		case w.whole:
		case what == 0:
			s.killWhole(ctx, w)
		case what < 6:
			s.killController(ctx, w)
		case len(w.running) > 0:
			w.kill(w.running[s.rng.IntN(len(w.running))])
		}
	}
}

// kill ends a process of the session; it may be a controller.
func (w *world) kill(p *process) {
	w.killed[p.cmd.Process.Pid] = true
	p.kill()
}

// killController kills the controller that the record names, and waits until it
// is gone: a killed process takes its time to die, and counts as alive until then.
func (s *simulation) killController(ctx context.Context, w *world) {
	info, err := portshare.Peek(w.session, app)
	if err != nil || info.State != portshare.Listening {
		return
	}
	w.sawController(sighting{Port: info.Port, PID: info.PID, Generation: info.Generation})
	if p, err := os.FindProcess(info.PID); err == nil && p.Kill() == nil {
		w.killed[info.PID] = true
		w.awaitDeath(ctx, info.PID, s.controller)
	}
}

// killWhole ends a session as pulling its plug would. Its accepted jobs must be
// delivered by the next controller.
func (s *simulation) killWhole(ctx context.Context, w *world) {
	for _, p := range w.running {
		w.kill(p)
	}
	s.killController(ctx, w)
	w.anchor.kill()
	w.collect()
	w.checkSuccession()
	w.newEpoch()
	w.whole = true
}
