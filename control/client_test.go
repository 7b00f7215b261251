package control_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"berth/control"
)

func TestEveryCallArrives(t *testing.T) {
	noLeaks(t)
	f := &fake{jobs: []control.Job{{ID: "j1", BytesTotal: 1 << 60}}}
	c := client(t, start(t, f, ""))
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Status(ctx)
	check(err)
	jobs, err := c.List(ctx, control.Filter{})
	check(err)
	if s.PID != 7 || len(jobs) != 1 || jobs[0].BytesTotal != 1<<60 {
		t.Fatalf("status %+v, jobs %+v", s, jobs)
	}
	for _, v := range []control.Verb{control.Pause, control.Resume, control.Cancel, control.Retry} {
		out, err := c.Do(ctx, v, control.Select{IDs: []string{"j1"}})
		check(err)
		if len(out) != 1 || out[0].State != string(v) {
			t.Fatalf("outcomes %+v", out)
		}
	}
	_, err = c.Do(ctx, control.Pause, control.Select{All: true})
	check(err)
	b, err := c.Collect(ctx, control.NewPackage{Name: "mail", Destination: "local"}, nil)
	check(err)
	_, err = b.AddFile(ctx, "/etc/hosts", "ä b/../c")
	check(err)
	check(b.Remove(ctx, "a/b c?%2F"))
	items, err := b.Items(ctx)
	check(err)
	j, err := b.Commit(ctx)
	check(err)
	if len(items) != 1 || j.ID != "p1" {
		t.Fatalf("items %+v, job %+v", items, j)
	}
	check(b.Discard(ctx))
	_, err = c.Destinations(ctx)
	check(err)
	check(c.TestDestination(ctx, "my server"))
	check(c.Quit(ctx))
	want := []string{
		"status", "list", "do pause [j1] false", "do resume [j1] false", "do cancel [j1] false", "do retry [j1] false",
		"do pause [] true", "new mail local", "addfile p1 ä b/../c", "remove p1 a/b c?%2F", "package p1", "commit p1",
		"discard p1", "destinations", "test my server", "quit",
	}
	if got := f.asked(); !slices.Equal(got, want) {
		t.Fatalf("calls\n%q\nwant\n%q", got, want)
	}
}

func TestErrorsKeepTheirClass(t *testing.T) {
	f := &fake{err: &control.Error{Code: control.CodeConflict, Message: "it is done", Next: "do nothing"}}
	c := client(t, start(t, f, ""))
	_, err := c.List(t.Context(), control.Filter{})
	var e *control.Error
	if !errors.As(err, &e) || e.Code != control.CodeConflict || e.Next != "do nothing" {
		t.Fatalf("got %#v", err)
	}
	f.mu.Lock()
	f.err = errors.New("something else")
	f.mu.Unlock()
	if _, err = c.List(t.Context(), control.Filter{}); !errors.As(err, &e) || e.Code != control.CodeFailed {
		t.Fatalf("got %#v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.List(ctx, control.Filter{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}
