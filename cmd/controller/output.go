package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"berth/control"
)

// printJSON writes v as one line, as every --json does.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // links stay readable
	return e.Encode(v)
}

// table writes rows in columns.
func table(w io.Writer, rows ...[]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}

// size writes bytes for people.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 4 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[prefix])
}

// percent is how far j is; an empty job is whole as soon as it is done.
func percent(j control.Job) int {
	if j.BytesTotal == 0 {
		if j.State == "done" {
			return 100
		}
		return 0
	}
	return int(100 * j.BytesDone / j.BytesTotal)
}

// jobLine is one job on one line, for `list`, and for `watch` in a pipe.
func jobLine(j control.Job) []string {
	progress := fmt.Sprintf("%d %% of %s", percent(j), size(j.BytesTotal))
	if j.Rate > 0 {
		progress += fmt.Sprintf(" at %s/s", size(int64(j.Rate)))
	}
	return []string{j.ID, j.State, progress, j.Destination, j.Name, firstLine(j.Error)}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// duration writes seconds for people.
func duration(seconds float64) string {
	return (time.Duration(seconds) * time.Second).String()
}
