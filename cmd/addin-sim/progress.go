package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"berth/control"
)

// progress says how a job gets on: one line that changes on a terminal, else a
// line for each state and each tenth.
type progress struct {
	w        io.Writer
	terminal bool
	said     string
}

func newProgress(w io.Writer) *progress {
	f, isFile := w.(*os.File)
	return &progress{w: w, terminal: isFile && term.IsTerminal(int(f.Fd()))}
}

func (p *progress) show(j control.Job) {
	percent, step := int64(0), int64(10)
	if j.BytesTotal > 0 {
		percent = 100 * j.BytesDone / j.BytesTotal
	}
	if p.terminal {
		step = 1
	}
	news := fmt.Sprint(j.State, percent/step)
	if news == p.said {
		return
	}
	p.said = news
	line := fmt.Sprintf("%s %s %d %% of %d bytes", j.ID, j.State, percent, j.BytesTotal)
	if p.terminal {
		fmt.Fprintf(p.w, "\r%-72s", line)
		return
	}
	fmt.Fprintln(p.w, line)
}

// end leaves the line that changed to what is printed next.
func (p *progress) end() {
	if p.terminal && p.said != "" {
		fmt.Fprintln(p.w)
	}
}
