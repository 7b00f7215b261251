package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/control"
	"berth/ipc"
)

// TestTheEngineIsTold follows what the engine counts to what people read.
func TestTheEngineIsTold(t *testing.T) {
	now := time.Now()
	var st control.Status
	describeEngine(&st, ipc.Stats{
		Budget: 1 << 30, Used: 1 << 29, Waiting: 2, Denied: 3, CacheBudget: 1 << 20, CacheUsed: 4096, Cached: []ipc.Cached{{Name: "x"}},
		LastDenied: &ipc.Denial{Name: "outlook", Bytes: 1 << 24, Reason: "the budget is spent", At: now},
		Drops:      map[string]int{"version": 1, "protocol": 2},
		Dropped:    []ipc.Drop{{Kind: "version"}, {Kind: "protocol", Name: "rogue", PID: 7, Reason: "it lied", At: now}},
		Companions: []ipc.CompanionStats{{
			Name: "outlook", PID: 5, State: "registered", BlockBytes: 5 << 20, Extents: 3, UsedBytes: 1 << 20, LargestFree: 1 << 19, Fragmentation: 0.25, CacheBytes: 4000,
		}},
	})
	var all []string
	for _, r := range engineRows(st) {
		all = append(all, strings.Join(r, ": "))
	}
	at := now.Format(time.TimeOnly)
	want := []string{
		"memory: 512.0 MiB of 1.0 GiB in blocks, 4.0 KiB of 1.0 MiB in 1 retained payload",
		"waiting: 2 companions for room to register",
		"denied: 3 wishes for memory, the last 16.0 MiB for outlook at " + at + ": the budget is spent",
		"companion: outlook, pid 5, block 5.0 MiB in 3 extents, 1.0 MiB in use, 512.0 KiB free in a row, 25 % fragmented, 3.9 KiB retained",
		"dropped: 2 for protocol, 1 for version; the last: rogue, pid 7, at " + at + ": it lied",
	}
	if got := strings.Join(all, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestTheDoctorTellsOfPressureAndDrops(t *testing.T) {
	recent, old := time.Now().Add(-time.Minute), time.Now().Add(-2*recently)
	calm := control.Memory{BudgetBytes: 100, UsedBytes: 50}
	for name, c := range map[string]struct {
		memory control.Memory
		drop   *control.Drop
		want   string
	}{
		"calm":        {calm, nil, "ok memory"},
		"old stories": {control.Memory{BudgetBytes: 100, Denied: 1, LastDenied: &control.Denial{Time: old}}, &control.Drop{Kind: "name", Time: old}, "ok memory"},
		"spent":       {control.Memory{BudgetBytes: 100, UsedBytes: 91}, nil, "note memory"},
		"waiting":     {control.Memory{BudgetBytes: 100, Waiting: 1}, nil, "note memory"},
		"denied":      {control.Memory{BudgetBytes: 100, LastDenied: &control.Denial{Time: recent}}, nil, "note memory"},
		"version":     {calm, &control.Drop{Kind: "version", Time: recent}, "ok memory, note dropped"},
		"protocol":    {calm, &control.Drop{Kind: "protocol", Time: recent}, "ok memory, note dropped"},
	} {
		d := &doctor{}
		d.engine(control.Status{Memory: c.memory, LastDrop: c.drop, Drops: map[string]int{"version": 1}})
		var got []string
		for _, f := range d.findings {
			got = append(got, fmt.Sprintf("%s %s", f.State, f.Check))
			if (f.State == "note") != (f.Next != "") {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTheDoctorCountsWhoWaits(t *testing.T) {
	for n, want := range map[int]string{1: "; 1 companion waits for room", 2: "; 2 companions wait for room"} {
		d := &doctor{}
		d.engine(control.Status{Memory: control.Memory{BudgetBytes: 100, Waiting: n}})
		if found := d.findings[0].Found; !strings.HasSuffix(found, want) {
			t.Errorf("%q, want %q in the end", found, want)
		}
	}
}
