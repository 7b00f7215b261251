package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPlotsShowWhatWasMeasured: a transport of round trips alone has no rate, one that
// failed has neither, and both limits stand beside the rest.
func TestPlotsShowWhatWasMeasured(t *testing.T) {
	r := &results{
		sizes: []int{4096, 1 << 20}, names: []string{"berth", "two bare futexes", "tcp"},
		trip:    map[string]latency{"berth": {p50: 700}, "two bare futexes": {p50: 2 * time.Microsecond}},
		rate:    map[string]map[int]float64{"berth": {4096: 12, 1 << 20: 14}, "tcp": {1 << 20: 4}},
		copying: map[int]float64{4096: 150, 1 << 20: 30}, twice: map[int]float64{4096: 16, 1 << 20: 18},
	}
	dir := t.TempDir()
	if err := r.plot(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"roundtrip.svg": {"berth 0.70", "two bare futexes 2.00"},
		"throughput.svg": {
			"4 KiB · berth 12.00", "4 KiB · memcpy 150.00", "4 KiB · two bare copies 16.00",
			"1 MiB · berth 14.00", "1 MiB · tcp 4.00", "1 MiB · memcpy 30.00", "1 MiB · two bare copies 18.00",
		},
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := labels(string(b)); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s shows %q, want %q", name, got, want)
		}
	}
}

// TestReportComparesWhatWasMeasured: a transport that was not chosen, or failed, is beside nobody.
func TestReportComparesWhatWasMeasured(t *testing.T) {
	berth := map[int]float64{4096: 12, 1 << 20: 14}
	for _, c := range []struct {
		rate  map[string]map[int]float64
		twice map[int]float64
		want  string
	}{
		{map[string]map[int]float64{"berth": berth, "tcp": {1 << 20: 4}}, map[int]float64{4096: 16, 1 << 20: 28},
			"   4 KiB: 8 % of memcpy, 75 % of two bare copies\n   1 MiB: 3.5 x TCP, 47 % of memcpy, 50 % of two bare copies\n"},
		{map[string]map[int]float64{"berth": berth, "shmipc tuned": {4096: 3, 1 << 20: 7}}, map[int]float64{4096: 0, 1 << 20: 14},
			"   4 KiB: 4.0 x the better shmipc, 8 % of memcpy\n   1 MiB: 2.0 x the better shmipc, 47 % of memcpy, 100 % of two bare copies\n"},
		{map[string]map[int]float64{"tcp": {4096: 4, 1 << 20: 4}}, map[int]float64{4096: 16, 1 << 20: 28}, ""},
	} {
		r := &results{sizes: []int{4096, 1 << 20}, rate: c.rate, copying: map[int]float64{4096: 150, 1 << 20: 30}, twice: c.twice}
		var out strings.Builder
		if r.ratios(&out); out.String() != c.want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), c.want)
		}
	}
	r := &results{names: []string{"tcp"}, trip: map[string]latency{"tcp": {p50: 8 * time.Microsecond, p99: 9 * time.Microsecond, cpu: 7 * time.Microsecond}}}
	var out strings.Builder
	r.print(&out)
	if want := "tcp  8.00  9.00  7.00        -"; !strings.Contains(out.String(), want) {
		t.Errorf("%q has no line %q", out.String(), want)
	}
}

// labels are the names of the bars with their figures.
func labels(svg string) (all []string) {
	var texts []string
	for _, part := range strings.Split(svg, "</text>") {
		texts = append(texts, part[strings.LastIndex(part, ">")+1:])
	}
	for i := 1; i+1 < len(texts); i += 2 { // after the title, and before the end
		all = append(all, texts[i]+" "+texts[i+1])
	}
	return all
}
