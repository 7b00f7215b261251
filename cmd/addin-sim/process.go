package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// process is a program that the simulation has started and waits for.
type process struct {
	cmd    *exec.Cmd
	out    output
	done   chan struct{} // closed when it has ended
	died   time.Time     // when that was seen; set before done is closed
	file   payload       // what a companion hands over
	stdin  io.Writer     // nil when it has none
	finish func() error  // asks it to end; nil when nobody may
}

func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{}), out: output{line: make(chan struct{})}}
	cmd.Stdout = &p.out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended stands in ProcessState
		p.died = time.Now()
	}()
	return p, nil
}

// startChild starts this program again, with a pipe to its standard input.
func startChild(args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p, err := start(cmd)
	if err == nil {
		p.stdin, p.finish = stdin, stdin.Close
	}
	return p, err
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

// says waits until the process has printed line, alone on its line; false when it
// ended or the patience did before.
func (p *process) says(line string, patience time.Duration) bool {
	late := time.After(patience)
	for {
		text, more := p.out.look()
		if bytes.HasPrefix(text, []byte(line+"\n")) || bytes.Contains(text, []byte("\n"+line+"\n")) {
			return true
		}
		select {
		case <-more:
		case <-p.done:
			text, _ = p.out.look()
			return bytes.Contains(append([]byte("\n"), text...), []byte("\n"+line+"\n"))
		case <-late:
			return false
		}
	}
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
