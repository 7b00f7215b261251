package main

import (
	"strings"
	"testing"

	"berth/control"
)

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 1<<30 + 1<<29: "1.5 GiB",
		1<<63 - 1: "8192.0 PiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		job  control.Job
		want int
	}{
		{control.Job{State: "queued"}, 0},
		{control.Job{State: "done"}, 100},
		{control.Job{BytesDone: 999, BytesTotal: 1000}, 99},
	} {
		if got := percent(c.job); got != c.want {
			t.Errorf("percent(%+v) = %d, want %d", c.job, got, c.want)
		}
	}
}

// The next step of a failed job must not get lost, nor take the columns apart.
func TestJobTable(t *testing.T) {
	var out strings.Builder
	err := jobTable(&out, []control.Job{
		{ID: "a", State: "failed", Destination: "work", Name: "one\ntwo", Error: "login refused\nSet the password.\nThen retry."},
		{ID: "longer", State: "done", Destination: "local", Name: "n"},
	})
	want := "ID      STATE   PROGRESS      DESTINATION  NAME     ERROR\n" +
		"a       failed  0 % of 0 B    work         one two  login refused\n" +
		"    Set the password.\n    Then retry.\n" +
		"longer  done    100 % of 0 B  local        n        \n"
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
}
