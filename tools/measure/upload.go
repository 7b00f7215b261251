//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// server is what transfer/transfertest/serve prints about the server it started.
type server struct {
	Kind, Addr, URL, User, Password, Root, HostKey string

	cmd   *exec.Cmd
	stdin io.Closer
}

// measureUploads sends one file to each kind of server: with curl, and through
// the controller by path and from a companion's memory. The controller's time ends
// when the job is done: accepted durably, uploaded, proved by hash and renamed;
// curl proves nothing.
func (b *sandbox) measureUploads(ctx context.Context, size int64, to []string) (err error) {
	file := filepath.Join(b.dir, "source.bin")
	if err := randomFile(file, size); err != nil {
		return err
	}
	serve := filepath.Join(b.dir, "serve")
	if err := command(ctx, "", "go", "build", "-o", serve, "./transfer/transfertest/serve"); err != nil {
		return err
	}
	var servers []*server
	for _, kind := range to {
		if kind == "local" {
			continue
		}
		s, err := startServer(ctx, serve, kind, filepath.Join(b.dir, kind))
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		defer s.stop()
		if err := s.configure(ctx); err != nil {
			return err
		}
		servers = append(servers, s)
	}
	c, err := b.listening(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()

	fmt.Printf("| %d MiB, MB/s, everything in memory | curl | by path | from a companion's memory |\n|---|---|---|---|\n", size>>20)
	if slices.Contains(to, "local") {
		fmt.Printf("| local | | %s | %s |\n", b.send(ctx, size, "local", file), b.send(ctx, size, "local", "--memory", file))
	}
	for _, s := range servers {
		curl := b.timed(size, func() error { return s.curl(ctx, file) }, s.Root)
		path := b.timed(size, func() error { return send(ctx, s.Kind, file) }, s.Root)
		memory := b.timed(size, func() error { return send(ctx, s.Kind, "--memory", file) }, s.Root)
		fmt.Printf("| %s | %s | %s | %s |\n", s.Kind, curl, path, memory)
	}
	fmt.Printf("\nThe controller's largest resident size in this run: %.1f MiB.\n\n", float64(peak(c.cmd.Process.Pid))/(1<<20))
	return nil
}

func (b *sandbox) send(ctx context.Context, size int64, to string, args ...string) string {
	return b.timed(size, func() error { return send(ctx, to, args...) }, filepath.Join(b.dir, "state", "local"))
}

// send hands over what args say and waits until the job is done.
func send(ctx context.Context, to string, args ...string) error {
	return command(ctx, "", "bin/addin-sim", append([]string{"send", "--wait", "--to", to}, args...)...)
}

// timed answers the median of three as megabytes per second. Between the runs it
// empties what the server keeps, so that memory lasts.
func (b *sandbox) timed(size int64, f func() error, root string) string {
	var took []time.Duration
	for range 3 {
		began := time.Now()
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, "measure:", err)
			return "failed"
		}
		took = append(took, time.Since(began))
		if err := removeLarge(root, size); err != nil {
			fmt.Fprintln(os.Stderr, "measure:", err)
		}
	}
	return fmt.Sprintf("%.0f", float64(size)/1e6/median(took).Seconds())
}

func removeLarge(root string, size int64) error {
	return filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && info.Size() >= size {
			return os.Remove(path)
		}
		return nil
	})
}

func randomFile(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size)
	return errors.Join(err, f.Close())
}

func startServer(ctx context.Context, serve, kind, dir string) (*server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, serve, kind, dir)
	cmd.Stderr = os.Stderr
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
	s := &server{cmd: cmd, stdin: in}
	if err := json.NewDecoder(out).Decode(s); err != nil {
		s.stop()
		return nil, errors.New("it did not start; next: make deps")
	}
	s.Kind = kind
	return s, nil
}

func (s *server) stop() {
	s.stdin.Close()
	s.cmd.Wait() //nolint:errcheck // it has said what went wrong itself
}

// configure makes the server a destination under its kind's name.
func (s *server) configure(ctx context.Context) error {
	url := s.URL
	if s.Kind == "tusd" {
		url = "tus+" + url
	}
	if err := command(ctx, s.Password+"\n", "bin/controller", "destinations", "add", s.Kind, url, "--password-stdin"); err != nil {
		return err
	}
	test := []string{"destinations", "test", s.Kind}
	if s.HostKey != "" {
		test = append(test, "--accept-host-key", s.HostKey)
	}
	return command(ctx, "", "bin/controller", test...)
}

// curl uploads the file as a person would without Berth.
func (s *server) curl(ctx context.Context, file string) error {
	if s.Kind != "tusd" {
		url := strings.TrimRight(s.URL, "/") + "/curl.bin"
		return command(ctx, "user = \""+s.User+":"+s.Password+"\"\n", "curl", "-fsS", "--insecure", "-K", "-", "-T", file, url)
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	bearer := "Authorization: Bearer " + s.Password // of a server that lives for seconds
	reply, err := exec.CommandContext(ctx, "curl", "-fsS", "-i", "-X", "POST", "-H", "Tus-Resumable: 1.0.0", "-H", bearer, "-H", fmt.Sprintf("Upload-Length: %d", info.Size()), s.URL).Output()
	if err != nil {
		return fmt.Errorf("curl: %w", err)
	}
	location := regexp.MustCompile(`(?im)^Location: *(\S+)`).FindSubmatch(reply)
	if location == nil {
		return errors.New("the tus server gave no location")
	}
	return command(ctx, "", "curl", "-fsS", "-X", "PATCH", "-H", "Tus-Resumable: 1.0.0", "-H", "Upload-Offset: 0", "-H", "Expect:",
		"-H", bearer, "-H", "Content-Type: application/offset+octet-stream", "-T", file, string(location[1]))
}

func command(ctx context.Context, stdin, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
