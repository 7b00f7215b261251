package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"sync"
)

// process is a program that the simulation has started and waits for.
type process struct {
	cmd    *exec.Cmd
	out    output
	done   chan struct{} // closed when it has ended
	file   payload       // what a companion hands over
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
	}()
	return p, nil
}

// kill ends the process as a crash would, and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
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

	mu   sync.Mutex // guards text
	text []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	had := bytes.IndexByte(o.text, '\n') >= 0
	o.text = append(o.text, b...)
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
