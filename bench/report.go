package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func sizeName(n int) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

func (r *results) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "Round trip of 64 bytes, microseconds (CPU: both processes, per round trip)")
	fmt.Fprintln(w, "\tp50\tp99\tCPU\tx berth\t")
	base := r.trip["berth"].p50
	for _, name := range r.names {
		t, ok := r.trip[name]
		if !ok {
			continue
		}
		times := "-"
		if base > 0 {
			times = fmt.Sprintf("%.1f", float64(t.p50)/float64(base))
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%s\t\n", name, micro(t.p50), micro(t.p99), micro(t.cpu), times)
	}
	_ = w.Flush()
	fmt.Fprintln(out, "\nOne way, from one program's buffer into the other's, GB/s (in brackets: CPU per message, microseconds)")
	fmt.Fprint(w, "\t")
	for _, size := range r.sizes {
		fmt.Fprintf(w, "%s\t", sizeName(size))
	}
	fmt.Fprintln(w)
	for _, name := range r.names {
		if len(r.rate[name]) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\t", name)
		for _, size := range r.sizes {
			fmt.Fprintf(w, "%.2f (%.1f)\t", r.rate[name][size], micro(r.cpu[name][size]))
		}
		fmt.Fprintln(w)
	}
	for _, limit := range []struct {
		name string
		rate map[int]float64
	}{{"memcpy, one thread", r.copying}, {"two bare copies", r.twice}} {
		fmt.Fprintf(w, "%s\t", limit.name)
		for _, size := range r.sizes {
			fmt.Fprintf(w, "%.2f\t", limit.rate[size])
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
	fmt.Fprintln(out)
	r.ratios(out)
	if len(r.moves) > 0 {
		printMoves(out, r.moves)
	}
}

// ratios are what counts on a machine that others use too, beside whatever was measured.
func (r *results) ratios(out io.Writer) {
	for _, size := range r.sizes {
		own := r.rate["berth"][size]
		var all []string
		beside := func(format string, factor, rate float64) {
			if own > 0 && rate > 0 {
				all = append(all, fmt.Sprintf(format, factor*own/rate))
			}
		}
		beside("%.1f x TCP", 1, r.rate["tcp"][size])
		beside("%.1f x the better shmipc", 1, max(r.rate["shmipc default"][size], r.rate["shmipc tuned"][size]))
		beside("%.0f %% of memcpy", 100, r.copying[size])
		beside("%.0f %% of two bare copies", 100, r.twice[size])
		if len(all) > 0 {
			fmt.Fprintf(out, "%8s: %s\n", sizeName(size), strings.Join(all, ", "))
		}
	}
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// plot draws both tables as bars on a logarithmic scale.
func (r *results) plot(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var trips, rates []bar
	for _, name := range r.names {
		trips = append(trips, bar{name, micro(r.trip[name].p50)})
	}
	for _, size := range r.sizes {
		for _, name := range r.names {
			rates = append(rates, bar{sizeName(size) + " · " + name, r.rate[name][size]})
		}
		rates = append(rates, bar{sizeName(size) + " · memcpy", r.copying[size]}, bar{sizeName(size) + " · two bare copies", r.twice[size]})
	}
	err := os.WriteFile(filepath.Join(dir, "roundtrip.svg"), []byte(bars("Round trip of 64 bytes, p50", "µs", trips)), 0o644)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "throughput.svg"), []byte(bars("One way, buffer to buffer", "GB/s", rates)), 0o644)
}

type bar struct {
	name  string
	value float64
}

// bars draws what was measured: of some there are only round trips, and some fail.
func bars(title, unit string, all []bar) string {
	const row, left, width = 20, 210, 420
	all = slices.DeleteFunc(all, func(b bar) bool { return b.value <= 0 })
	low, high := math.Inf(1), 0.0
	for _, b := range all {
		low, high = min(low, b.value), max(high, b.value)
	}
	low /= 2
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`, left+width+90, row*(len(all)+2))
	fmt.Fprintf(&s, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="16" font-weight="bold">%s (%s, logarithmic)</text>`, title, unit)
	for i, b := range all {
		y := row * (i + 1)
		length := width * math.Log(b.value/low) / math.Log(high/low)
		color := "#9aa5b1"
		if strings.Contains(b.name, "berth") {
			color = "#1f6feb"
		}
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">%.2f</text>`,
			left-8, y+15, b.name, left, y+3, length, row-6, color, left+length+6, y+15, b.value)
	}
	s.WriteString("</svg>\n")
	return s.String()
}
