package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

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
	return []string{j.ID, j.State, progress, j.Destination, oneLine(j.Name), firstLine(j.Error)}
}

// jobTable writes jobs in columns. What an error says after its first line, above
// all the next step, stands indented below its job.
func jobTable(w io.Writer, jobs []control.Job) error {
	rows := [][]string{{"ID", "STATE", "PROGRESS", "DESTINATION", "NAME", "ERROR"}}
	for _, j := range jobs {
		rows = append(rows, jobLine(j))
	}
	var text strings.Builder
	if err := table(&text, rows...); err != nil {
		return err
	}
	var out strings.Builder
	for i, line := range strings.SplitAfter(text.String(), "\n") {
		out.WriteString(line)
		if i == 0 || i > len(jobs) {
			continue
		}
		_, further, _ := strings.Cut(strings.TrimSpace(jobs[i-1].Error), "\n")
		for l := range strings.Lines(further) {
			fmt.Fprintf(&out, "    %s\n", strings.TrimSpace(l))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// oneLine keeps a name from breaking the columns.
func oneLine(s string) string { return strings.Join(strings.FieldsFunc(s, unicode.IsControl), " ") }

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// duration writes seconds for people.
func duration(seconds float64) string {
	return (time.Duration(seconds) * time.Second).String()
}
