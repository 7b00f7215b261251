package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"berth/ipc"
	"berth/session"
)

func (s *simulator) benchCommand() *cobra.Command {
	var each time.Duration
	var asJSON, flood bool
	c := command("bench", "Measure shared memory beside TCP, a unix socket and memcpy, between two processes, in one run", cobra.NoArgs)
	f := c.Flags()
	f.DurationVar(&each, "for", time.Second, "how long each figure is measured; --flood takes five times as long for each row")
	f.BoolVar(&asJSON, "json", false, "print one object for each row instead of a table")
	f.BoolVar(&flood, "flood", false, "measure instead how long companions wait beside others that send all they can")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if each <= 0 {
			return &exitError{2, errors.New("--for must be more than 0")}
		}
		if flood {
			return s.flood(c.Context(), 5*each, asJSON)
		}
		return s.bench(c.Context(), each, asJSON)
	}
	return c
}

// bench is the receiving process: an engine, and the same service on sockets.
// The sending one, a child of it, measures and prints.
func (s *simulator) bench(ctx context.Context, each time.Duration, asJSON bool) error {
	ipc.Tune()
	sess, err := session.Named(fmt.Sprintf("bench%d", os.Getpid()))
	if err != nil {
		return err
	}
	dir, err := sess.RuntimeDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	engine, err := ipc.NewEngine(sess, ipc.Options{})
	if err != nil {
		return err
	}
	defer engine.Close()
	engine.Handle("copy", func(ctx context.Context, s *ipc.Session) { serveMemory(ctx, s, true) })
	engine.Handle("look", func(ctx context.Context, s *ipc.Session) { serveMemory(ctx, s, false) })

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := []string{"bench-sender", "--for", each.String(), "--engine", engine.Endpoint(), fmt.Sprintf("--json=%v", asJSON)}
	tcp, err := serveSocket(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	args = append(args, "--tcp", tcp)
	if unix, err := serveSocket(ctx, "unix", filepath.Join(dir, "bench.sock")); err == nil { // not on every Windows
		args = append(args, "--unix", unix)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.CommandContext(ctx, self, args...)
	child.Stdout, child.Stderr = s.out, s.err
	err = child.Run()
	return cmp.Or(interrupted(ctx, "the comparison"), err)
}

// serveMemory takes messages, copies them into memory of its own if it is to,
// and answers requests with a small one.
func serveMemory(ctx context.Context, s *ipc.Session, copies bool) {
	var own []byte
	for {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		if copies {
			own = grown(own, len(m.Bytes()))
			m.CopyTo(own)
		}
		if m.Request() {
			err = answerWith(ctx, s, m, m.Bytes()[:min(len(m.Bytes()), pingSize)])
		}
		m.Release()
		if err != nil {
			return
		}
	}
}

func grown(b []byte, n int) []byte {
	if len(b) < n {
		return make([]byte, n)
	}
	return b
}

// serveSocket is the same service over a stream: a head says how many messages
// of which size follow; small ones are echoed one by one, large ones acknowledged
// together.
func serveSocket(ctx context.Context, network, address string) (string, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { _ = c.Close() })
			go answerSocket(c)
		}
	}()
	return l.Addr().String(), nil
}

func answerSocket(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	var own []byte
	for {
		size, count, err := readHead(r)
		if err != nil {
			return
		}
		if size < 0 || size > 1<<30 { // whoever else may connect
			return
		}
		own = grown(own, size)
		for range count {
			if _, err := io.ReadFull(r, own[:size]); err != nil {
				return
			}
			if size > pingSize {
				continue
			}
			if _, err := c.Write(own[:size]); err != nil {
				return
			}
		}
		if size > pingSize {
			if _, err := c.Write(own[:1]); err != nil {
				return
			}
		}
	}
}
