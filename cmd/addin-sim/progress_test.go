package main

import (
	"strings"
	"testing"

	"berth/control"
)

func TestProgressSaysEachStateAndTenth(t *testing.T) {
	var out strings.Builder
	p := progress{w: &out}
	p.show(control.Job{ID: "a", State: "queued", BytesTotal: 1000})
	for n := int64(0); n <= 250; n += 10 {
		p.show(control.Job{ID: "a", State: "uploading", BytesDone: n, BytesTotal: 1000})
	}
	p.show(control.Job{ID: "a", State: "done", BytesDone: 1000, BytesTotal: 1000})
	p.end()
	want := "a queued 0 % of 1000 bytes\na uploading 0 % of 1000 bytes\na uploading 10 % of 1000 bytes\n" +
		"a uploading 20 % of 1000 bytes\na done 100 % of 1000 bytes\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestProgressOnATerminalIsOneLine(t *testing.T) {
	var out strings.Builder
	p := progress{w: &out, terminal: true}
	p.show(control.Job{ID: "a", State: "uploading", BytesTotal: 100})
	p.show(control.Job{ID: "a", State: "uploading", BytesDone: 1, BytesTotal: 100})
	p.end()
	if got := out.String(); strings.Count(got, "\n") != 1 || strings.Count(got, "\r") != 2 {
		t.Errorf("got %q", got)
	}
}
