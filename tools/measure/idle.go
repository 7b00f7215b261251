//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"berth/ipc"
	"berth/portshare"
	"berth/session"
)

// attached companions are watched beside the controller, each a process of its own.
const attached = 8

// settling is the time for what a process does once after its last message: idle
// blocks are given back, and half a minute later the monitor of Go's runtime looks
// around for a few milliseconds, as it does every 30 s from then on.
const settling = 35 * time.Second

// group is processes whose cost is added up.
type group struct {
	name string
	pids []int
}

// measureIdle prints what a controller costs that nobody asks for anything: alone,
// and with companions that have nothing to say either.
func (b *sandbox) measureIdle(ctx context.Context, watch time.Duration) (err error) {
	c, err := b.listening(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	fmt.Printf("| idle, watched for %.0f s | processor | wake-ups, all threads | resident |\n|---|---|---|---|\n", watch.Seconds())
	self := []int{c.cmd.Process.Pid}
	if err := idleRows(watch, group{"controller", self}); err != nil {
		return err
	}
	pids, leave, err := attach(ctx)
	defer leave()
	if err != nil {
		return err
	}
	err = idleRows(watch, group{fmt.Sprintf("controller with %d companions", attached), self}, group{fmt.Sprintf("those %d companions", attached), pids})
	fmt.Println()
	return err
}

// idleRows watches all groups at once.
func idleRows(watch time.Duration, groups ...group) error {
	time.Sleep(settling)
	var before []usage
	for _, g := range groups {
		u, err := usedBy(g.pids)
		if err != nil {
			return err
		}
		before = append(before, u)
	}
	time.Sleep(watch)
	for i, g := range groups {
		after, err := usedBy(g.pids)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.2f %% of a core | %d | %.1f MiB |\n", g.name,
			float64(after.ticks-before[i].ticks)/watch.Seconds(), after.switches-before[i].switches, float64(after.rss)/(1<<20))
	}
	return nil
}

func usedBy(pids []int) (sum usage, err error) {
	for _, pid := range pids {
		u, err := used(pid)
		if err != nil {
			return sum, err
		}
		sum.ticks, sum.switches, sum.rss = sum.ticks+u.ticks, sum.switches+u.switches, sum.rss+u.rss
	}
	return sum, nil
}

// attach starts companions and waits until each has talked to the controller. leave
// ends them.
func attach(ctx context.Context) (pids []int, leave func(), err error) {
	var all []*exec.Cmd
	var hold []io.Closer
	leave = func() {
		for _, h := range hold {
			_ = h.Close()
		}
		for _, cmd := range all {
			_ = cmd.Wait()
		}
	}
	for i := range attached {
		cmd := exec.CommandContext(ctx, "/proc/self/exe")
		cmd.Env, cmd.Stderr = append(os.Environ(), fmt.Sprintf("MEASURE_COMPANION=idle-%d", i)), os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, leave, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, leave, err
		}
		if err := cmd.Start(); err != nil {
			return nil, leave, err
		}
		all, hold, pids = append(all, cmd), append(hold, in), append(pids, cmd.Process.Pid)
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			return nil, leave, fmt.Errorf("companion %d: %w", i, err)
		}
	}
	return pids, leave, nil
}

// playCompanion registers, asks one question, so that its lane has been used, says so,
// and then does nothing until its input ends.
func playCompanion(ctx context.Context, name string) error {
	s, err := session.Current()
	if err != nil {
		return err
	}
	info, err := portshare.Peek(s, "berth")
	if err != nil {
		return err
	}
	c, err := ipc.Dial(ctx, info.Endpoint, name)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Cached(ctx); err != nil {
		return err
	}
	fmt.Println("attached")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
