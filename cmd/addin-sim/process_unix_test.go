//go:build !windows

package main

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"
)

// TestWhyAProcessIsNotReady tells one that has ended, and why, from one that takes too long
// and from a user who waits no more.
func TestWhyAProcessIsNotReady(t *testing.T) {
	impatient := func() context.Context {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("is late"))
		t.Cleanup(cancel)
		return ctx
	}
	for _, c := range []struct {
		script string
		ctx    context.Context
		want   string
	}{
		{"echo ready; exec cat", t.Context(), ""},
		{"echo already; echo ready", t.Context(), ""},
		{"echo already; echo 'addin-sim: no room' >&2; exit 1", t.Context(), "ended before it was ready: no room"},
		{"exit 7", t.Context(), "ended before it was ready: exit status 7"},
		{"echo 'not so fast' >&2; exec cat", impatient(), "is late"},
	} {
		p, err := startAttended(exec.Command("sh", "-c", c.script))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := p.awaitReady(c.ctx); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.script, got, c.want)
		}
		p.kill()
	}
}

// TestNobodyWaitsForTheRestOfTheDead: one that has ended is told of at once, whichever comes first.
func TestNobodyWaitsForTheRestOfTheDead(t *testing.T) {
	var all []*process
	for _, script := range []string{"exec cat", "echo 'no room' >&2; exit 1", "exec cat"} {
		p, err := startAttended(exec.Command("sh", "-c", script))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	defer killAll(all)
	if err := allReady(t.Context(), all); err == nil || err.Error() != "a process of companions ended before it was ready: no room" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := allReady(ctx, all[:1]); err == nil || err.Error() != "enough" {
		t.Errorf("got %v", err)
	}
}
