package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// benchTable prints each row as soon as it is measured.
type benchTable struct {
	out   io.Writer
	names []string // of the transports
	json  bool
}

// benchRow is a row for programs.
type benchRow struct {
	Measure string             `json:"measure"`
	Bytes   int                `json:"bytes"` // of a message
	Unit    string             `json:"unit"`
	Figures map[string]float64 `json:"figures"` // by transport
}

func (t *benchTable) head() error {
	if t.json {
		return nil
	}
	line := fmt.Sprintf("%-54s", "")
	for _, name := range t.names {
		line += fmt.Sprintf(" %9s", name)
	}
	_, err := fmt.Fprintln(t.out, line)
	return err
}

// row prints the figures of the first transports, as many as there are.
func (t *benchTable) row(measure, unit string, size int, figures []float64) error {
	if t.json {
		r := benchRow{measure, size, unit, map[string]float64{}}
		for i, f := range figures {
			r.Figures[t.names[i]] = f
		}
		return json.NewEncoder(t.out).Encode(r)
	}
	line := fmt.Sprintf("%-54s", fmt.Sprintf("%s, %s, %s", measure, sizeName(size), unit))
	for _, f := range figures {
		line += fmt.Sprintf(" %9.2f", f)
	}
	_, err := fmt.Fprintln(t.out, line)
	return err
}
