package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/control"
	"berth/ipc"
)

// describeEngine tells of the engine in the words of the API.
func describeEngine(st *control.Status, e ipc.Stats) {
	st.Companions, st.Drops = []control.Companion{}, map[string]int{}
	for _, c := range e.Companions {
		st.Companions = append(st.Companions, control.Companion{
			Name: c.Name, PID: c.PID, State: c.State, BlockBytes: c.BlockBytes, Extents: c.Extents, UsedBytes: c.UsedBytes,
			LargestFreeBytes: c.LargestFree, Fragmentation: c.Fragmentation, CacheBytes: c.CacheBytes, Sessions: c.Sessions,
		})
	}
	st.Memory = control.Memory{
		BudgetBytes: e.Budget, UsedBytes: e.Used, CacheBudgetBytes: e.CacheBudget, CacheBytes: e.CacheUsed,
		CachedPayloads: len(e.Cached), Waiting: e.Waiting, Denied: e.Denied,
	}
	if d := e.LastDenied; d != nil {
		st.Memory.LastDenied = &control.Denial{Name: d.Name, Bytes: d.Bytes, Reason: d.Reason, Time: d.At}
	}
	maps.Copy(st.Drops, e.Drops)
	if n := len(e.Dropped); n > 0 {
		d := e.Dropped[n-1]
		st.LastDrop = &control.Drop{Kind: d.Kind, Name: d.Name, PID: d.PID, Reason: d.Reason, Time: d.At}
	}
}

// engineRows are the lines of `status` about the engine.
func engineRows(st control.Status) [][]string {
	m := st.Memory
	rows := [][]string{{"memory", fmt.Sprintf("%s of %s in blocks, %s of %s in %s",
		size(m.UsedBytes), size(m.BudgetBytes), size(m.CacheBytes), size(m.CacheBudgetBytes), count(m.CachedPayloads, "retained payload"))}}
	if m.Waiting > 0 {
		rows = append(rows, []string{"waiting", count(m.Waiting, "companion") + " for room to register"})
	}
	if m.LastDenied != nil {
		rows = append(rows, []string{"denied", fmt.Sprintf("%s for memory, the last %s", count(m.Denied, "wish"), denial(m.LastDenied))})
	}
	for _, c := range st.Companions {
		rows = append(rows, []string{"companion", companionLine(c)})
	}
	if d := st.LastDrop; d != nil {
		rows = append(rows, []string{"dropped", fmt.Sprintf("%s; the last: %s", dropCounts(st.Drops), drop(d))})
	}
	return rows
}

func companionLine(c control.Companion) string {
	line := fmt.Sprintf("%s, pid %d, block %s in %s, %s in use, %s free in a row",
		c.Name, c.PID, size(c.BlockBytes), count(c.Extents, "extent"), size(c.UsedBytes), size(c.LargestFreeBytes))
	if c.Fragmentation > 0 {
		line += fmt.Sprintf(", %.0f %% fragmented", 100*c.Fragmentation)
	}
	if c.CacheBytes > 0 {
		line += fmt.Sprintf(", %s retained", size(c.CacheBytes))
	}
	if c.State != "registered" {
		line += ", " + c.State
	}
	return line
}

func denial(d *control.Denial) string {
	return fmt.Sprintf("%s for %s at %s: %s", size(d.Bytes), oneLine(d.Name), d.Time.Local().Format(time.TimeOnly), oneLine(d.Reason))
}

func drop(d *control.Drop) string {
	name := d.Name
	if name == "" {
		name = "unnamed"
	}
	return fmt.Sprintf("%s, pid %d, at %s: %s", oneLine(name), d.PID, d.Time.Local().Format(time.TimeOnly), oneLine(d.Reason))
}

func dropCounts(drops map[string]int) string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(drops)) {
		all = append(all, fmt.Sprintf("%d for %s", drops[kind], kind))
	}
	return strings.Join(all, ", ")
}

// count is a number with its noun.
func count(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "sh"):
		noun += "es"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// recently is how long ago something may have been that the doctor still tells of.
const recently = time.Hour

// engine tells of memory pressure and of companions that were turned away.
func (d *doctor) engine(st control.Status) {
	m := st.Memory
	spent := m.BudgetBytes > 0 && m.UsedBytes > m.BudgetBytes*9/10
	denied := m.LastDenied != nil && time.Since(m.LastDenied.Time) < recently
	text := fmt.Sprintf("blocks take %s of %s, the cache %s of %s",
		size(m.UsedBytes), size(m.BudgetBytes), size(m.CacheBytes), size(m.CacheBudgetBytes))
	switch {
	case m.Waiting > 0 || spent || denied:
		if m.Waiting > 0 {
			verb := "wait"
			if m.Waiting == 1 {
				verb = "waits"
			}
			text += fmt.Sprintf("; %s %s for room", count(m.Waiting, "companion"), verb)
		}
		if denied {
			text += "; denied: " + denial(m.LastDenied)
		}
		d.note("memory", "Look at `controller status` for who holds it; end what is not needed, or give the session more memory.", "%s", text)
	default:
		d.ok("memory", "%s", text)
	}
	if last := st.LastDrop; last != nil && time.Since(last.Time) < recently {
		d.note("dropped", nextOfDrop(last.Kind), "%s; the last: %s", dropCounts(st.Drops), drop(last))
	}
}

func nextOfDrop(kind string) string {
	switch kind {
	case "version":
		return "Update the older of the two programs."
	case "name":
		return "Two programs use one name: end one of them."
	case "quota":
		return "Restart that companion; if it happens again, tell its maker."
	}
	return "Restart that companion; if it happens again, send the controller's log to its maker."
}
