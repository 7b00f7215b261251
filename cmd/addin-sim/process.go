package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// process is a program that the simulation has started and waits for.
type process struct {
	cmd    *exec.Cmd
	out    output
	words  words
	done   chan struct{} // closed when it has ended
	died   time.Time     // when that was seen; set before done is closed
	file   payload       // what a companion hands over
	stdin  io.Writer     // nil when it has none
	finish func() error  // asks it to end; nil when nobody may
}

func start(cmd *exec.Cmd) (*process, error) {
	p := newProcess(cmd)
	if err := p.start(); err != nil {
		return nil, err
	}
	return p, nil
}

func newProcess(cmd *exec.Cmd) *process {
	p := &process{cmd: cmd, done: make(chan struct{}), out: output{line: make(chan struct{})}}
	cmd.Stdout = &p.out
	return p
}

func (p *process) start() error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended stands in ProcessState
		p.died = time.Now()
	}()
	return nil
}

// startChild starts this program again, with a pipe to its standard input.
func startChild(args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startAttended(exec.Command(self, args...))
}

// startAttended starts cmd with a pipe to its standard input, and keeps what it says
// before it is ready.
func startAttended(cmd *exec.Cmd) (*process, error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p := newProcess(cmd)
	p.stdin, p.finish, cmd.Stderr = stdin, stdin.Close, &p.words
	return p, p.start()
}

// kill ends the process as a crash would, and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// tell writes to its standard input; one that has ended hears nothing.
func (p *process) tell(line string) { _, _ = io.WriteString(p.stdin, line) }

// ends waits until the process has ended by itself, and kills it when it has not;
// then it is false.
func (p *process) ends(patience time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(patience):
		p.kill()
		return false
	}
}

// awaitReady waits until the process says that it is ready. The error goes on from the name of
// the process, and tells one that has ended, and why, from one that takes too long.
func (p *process) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTime, fmt.Errorf("was not ready within %v", settleTime))
	defer cancel()
	err := p.says(ctx, sayReady)
	if errors.Is(err, errEnded) {
		return fmt.Errorf("ended before it was ready: %s", p.lastWords())
	}
	if err == nil {
		p.words.pass()
	}
	return err
}

// lastWords is why a process has ended, as far as anybody knows.
func (p *process) lastWords() string {
	if said := p.words.said(); said != "" {
		return said
	}
	return p.cmd.ProcessState.String()
}

// errEnded: a process has ended without saying what was waited for.
var errEnded = errors.New("the process has ended")

// says waits until the process has printed line, alone on its line; errEnded when it has
// ended before, and the cause of ctx when that has.
func (p *process) says(ctx context.Context, line string) error {
	for {
		text, more := p.out.look()
		if hasLine(text, line) {
			return nil
		}
		select {
		case <-more:
		case <-p.done:
			if text, _ = p.out.look(); hasLine(text, line) {
				return nil
			}
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func hasLine(text []byte, line string) bool {
	return bytes.HasPrefix(text, []byte(line+"\n")) || bytes.Contains(text, []byte("\n"+line+"\n"))
}

// sightings are what a companion has told. A kill may have cut its last line.
func (p *process) sightings() (all []sighting) {
	for line := range bytes.Lines(p.out.bytes()) {
		var g sighting
		if json.Unmarshal(line, &g) == nil {
			all = append(all, g)
		}
	}
	return all
}

// words is what a process says on standard error. Until it is ready that may be why it never
// will be, which somebody else tells; from then on it goes on as it comes.
type words struct {
	mu     sync.Mutex // guards the rest
	kept   []byte
	passed bool
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.passed {
		return os.Stderr.Write(b)
	}
	w.kept = append(w.kept, b...)
	return len(b), nil
}

// pass lets all go on, and what was kept first.
func (w *words) pass() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passed = true
	_, _ = os.Stderr.Write(w.kept)
	w.kept = nil
}

// said is what was kept, as part of an error.
func (w *words) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimPrefix(strings.TrimSpace(string(w.kept)), "addin-sim: ")
}

// output collects what a process prints and tells when the first line is there.
type output struct {
	line chan struct{} // closed with the first line

	mu   sync.Mutex // guards the rest
	text []byte
	more chan struct{} // closed with the next bytes; nil when nobody waits
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	had := bytes.IndexByte(o.text, '\n') >= 0
	o.text = append(o.text, b...)
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	if !had && bytes.IndexByte(b, '\n') >= 0 {
		close(o.line)
	}
	return len(b), nil
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.text)
}

// look answers what there is and a channel that is closed when there is more.
func (o *output) look() (text []byte, more <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more == nil {
		o.more = make(chan struct{})
	}
	return bytes.Clone(o.text), o.more
}

// exitCode is how cmd ends; -1 when it could not run.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}
