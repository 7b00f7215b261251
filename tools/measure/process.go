//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"berth/portshare"
)

// controller is a controller that this program has started.
type controller struct {
	cmd *exec.Cmd
	log bytes.Buffer
}

func (b *sandbox) startController(ctx context.Context) (*controller, error) {
	c := &controller{cmd: exec.CommandContext(ctx, "bin/controller", "run", "--no-tray")}
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	return c, c.cmd.Start()
}

// stop ends it as a session's end does, and waits until it is gone.
func (c *controller) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("the controller ended with %w:\n%s", err, &c.log)
	}
	return nil
}

// listening starts a controller and waits for it.
func (b *sandbox) listening(ctx context.Context) (*controller, error) {
	rec, err := portshare.Join(b.session, "berth")
	if err != nil {
		return nil, err
	}
	defer rec.Close()
	c, err := b.startController(ctx)
	if err != nil {
		return nil, err
	}
	_, err = rec.Listening(ctx)
	return c, err
}

// usage is what a process has used up to now.
type usage struct {
	ticks    int64 // of processor time, 100 a second
	switches int64 // voluntary: how often it was woken from sleep
	rss      int64 // bytes
}

func used(pid int) (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name in parentheses may hold anything; utime and stime are the 12th and
	// 13th fields after it.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 22 {
		return u, errors.New("unexpected /proc/PID/stat")
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	u.ticks, u.rss = user+system, pages*int64(os.Getpagesize())
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, task := range tasks {
		u.switches += statusField(task, "voluntary_ctxt_switches:")
	}
	return u, err
}

func statusField(path, name string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0 // the thread has ended
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64) // "kB" may follow
			return n
		}
	}
	return 0
}

// peak is the largest resident size that a process has had, in bytes.
func peak(pid int) int64 { return statusField(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:") << 10 }
