package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"berth/control"
)

// display shows how jobs get on: bars on a terminal, lines in a pipe.
type display interface {
	show(control.Job)
	gone(id string)
	close()
}

func newDisplay(w io.Writer) display {
	if onTerminal(w) {
		return &bars{progress: mpb.New(mpb.WithOutput(w), mpb.WithWidth(64)), known: map[string]*bar{}}
	}
	return &lines{w: w, said: map[string]string{}}
}

// finished tells whether nothing more happens to j by itself.
func finished(j control.Job) bool {
	switch j.State {
	case "done", "failed", "canceled":
		return true
	}
	return false
}

// lines prints a job when its state or its tenth of progress has changed.
type lines struct {
	w    io.Writer
	said map[string]string
}

func (l *lines) show(j control.Job) {
	news := fmt.Sprint(j.State, percent(j)/10, j.Error)
	if l.said[j.ID] == news {
		return
	}
	l.said[j.ID] = news
	fmt.Fprintln(l.w, strings.TrimRight(strings.Join(jobLine(j), "  "), " "))
}

func (l *lines) gone(id string) { delete(l.said, id) }
func (l *lines) close()         {}

// bars draws one bar for each job that is not finished.
type bars struct {
	progress *mpb.Progress
	known    map[string]*bar
}

type bar struct {
	*mpb.Bar
	label *label
}

func (b *bars) show(j control.Job) {
	k := b.known[j.ID]
	if k == nil && finished(j) {
		return
	}
	if k == nil {
		k = b.add(j)
		b.known[j.ID] = k
	}
	k.label.set(j)
	k.SetTotal(max(j.BytesTotal, 1), false)
	k.SetCurrent(min(j.BytesDone, max(j.BytesTotal, 1)-1)) // full only when done: mpb forgets a full bar
	if j.State == "done" {
		k.SetTotal(-1, true)
	} else if finished(j) {
		k.Abort(false)
	}
	if finished(j) {
		delete(b.known, j.ID)
	}
}

func (b *bars) add(j control.Job) *bar {
	l := &label{}
	return &bar{label: l, Bar: b.progress.AddBar(max(j.BytesTotal, 1),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return l.get(nameOf) }, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return l.get(progressOf) })),
	)}
}

func nameOf(j control.Job) string { return shorten(j.Name, 30) }

func progressOf(j control.Job) string {
	fields := jobLine(j)
	return strings.TrimRight(fields[1]+" "+fields[2]+" "+fields[5], " ")
}

func (b *bars) gone(id string) {
	if k := b.known[id]; k != nil {
		k.Abort(true)
		delete(b.known, id)
	}
}

func (b *bars) close() {
	for id := range b.known {
		b.known[id].Abort(false)
	}
	b.progress.Wait()
}

// shorten cuts s to n characters for a column.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
