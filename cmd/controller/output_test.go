package main

import (
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
