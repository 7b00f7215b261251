package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os/exec"

	"berth/transfer/transfertest/servers"
)

// serverProcess is a file server in a process of its own, so that killing a
// controller never touches it.
type serverProcess struct {
	*servers.Server
	cmd   *exec.Cmd
	stdin io.Closer
}

func startServerProcess(kind, dir string) (*serverProcess, error) {
	cmd := exec.Command("server", kind, dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &serverProcess{Server: &servers.Server{}, cmd: cmd, stdin: in}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, p.Server)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// stop lets the server clean up after itself.
func (p *serverProcess) stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
}

// destinationURL is the URL by which the controller knows a test server.
func destinationURL(s *servers.Server) string {
	if s.Kind == "tusd" {
		return "tus+" + s.URL
	}
	return s.URL
}
