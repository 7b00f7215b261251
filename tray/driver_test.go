package tray

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/control"
)

// fakeKit is a desktop that notes every call.
type fakeKit struct {
	calls []string
	items []*fakeItem
	open  atomic.Bool
}

type fakeItem struct {
	kit    *fakeKit
	title  string
	clicks chan struct{}
	hidden bool
	off    bool
}

func (k *fakeKit) note(format string, args ...any) {
	k.calls = append(k.calls, fmt.Sprintf(format, args...))
}

func (k *fakeKit) add(parent item, title string) (item, <-chan struct{}) {
	if p, ok := parent.(*fakeItem); parent != nil && (!ok || p.hidden) {
		panic("a line cannot be made below a hidden one")
	}
	it := &fakeItem{kit: k, title: title, clicks: make(chan struct{})}
	k.items = append(k.items, it)
	return it, it.clicks
}
func (k *fakeKit) separator()          {}
func (k *fakeKit) icon(m mood)         { k.note("icon %d", m) }
func (k *fakeKit) busy(time.Time) bool { return k.open.Load() }
func (k *fakeKit) tooltip(s string)    { k.note("tooltip %s", s) }

func (k *fakeKit) take() []string {
	out := k.calls
	k.calls = nil
	return out
}

func (i *fakeItem) SetTitle(s string) { i.kit.note("title %s: %s", i.title, s); i.title = s }
func (i *fakeItem) Show()             { i.kit.note("show %s", i.title); i.hidden = false }
func (i *fakeItem) Hide()             { i.kit.note("hide %s", i.title); i.hidden = true }
func (i *fakeItem) Enable()           { i.kit.note("enable %s", i.title); i.off = false }
func (i *fakeItem) Disable()          { i.kit.note("disable %s", i.title); i.off = true }

// visible is the menu as a person sees it: titles, with - before what is off.
func (k *fakeKit) visible() (out []string) {
	for _, i := range k.items {
		switch {
		case i.hidden:
		case i.off:
			out = append(out, "-"+i.title)
		default:
			out = append(out, i.title)
		}
	}
	return out
}

func fakeDriver(canOpen bool) (*driver, *fakeKit, map[string][]press) {
	kit, heard := &fakeKit{}, map[string][]press{}
	d := newDriver(kit, func(c <-chan struct{}, p press) {
		for _, i := range kit.items {
			if (<-chan struct{})(i.clicks) == c {
				heard[i.title] = append(heard[i.title], p)
			}
		}
	}, canOpen)
	return d, kit, heard
}

func TestMenuAtStart(t *testing.T) {
	_, kit, heard := fakeDriver(true)
	var top []string
	for _, s := range kit.visible() {
		if s != "Pause" && s != "Resume" && s != "Cancel" { // of hidden rows
			top = append(top, s)
		}
	}
	want := []string{"-Berth", "-Pause all", "-Resume all", "-Cancel all", "-Yes, cancel all", "Open the monitor", "Quit"}
	if !slices.Equal(top, want) {
		t.Errorf("got %q, want %q", top, want)
	}
	for title, n := range map[string]int{"Pause": rowCount, "Resume": rowCount, "Cancel": rowCount, "Pause all": 1, "Yes, cancel all": 1, "Quit": 1} {
		if len(heard[title]) != n {
			t.Errorf("%s: %d listeners, want %d", title, len(heard[title]), n)
		}
	}
	if _, kit, _ := fakeDriver(false); slices.Contains(kit.visible(), "Open the monitor") {
		t.Error("a line that can do nothing is shown")
	}
}

func TestOnlyDifferencesAreApplied(t *testing.T) {
	d, kit, _ := fakeDriver(true)
	m := newModel()
	m.reset([]control.Job{job(1, "uploading")})
	now := time.Now()
	kit.take()
	step := func(what string, want ...string) {
		t.Helper()
		changed := d.apply(m.menu(), now)
		got := kit.take()
		if !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
		if changed != (len(want) > 0) {
			t.Errorf("%s: changed = %v", what, changed)
		}
	}
	step("first job",
		"title Berth: 1 transfer, 50 %",
		"disable Resume",
		"title -: file1  —  uploading, 50 %", "show file1  —  uploading, 50 %",
		"enable Pause all", "enable Cancel all",
		"title Yes, cancel all: Yes, cancel 1 transfer", "enable Yes, cancel 1 transfer",
		"icon 2", "tooltip Berth: 1 transfer, 50 %")
	step("nothing new")
	j := job(1, "uploading")
	j.BytesTotal, j.BytesDone = 1_000_000, 500_001
	m.apply(event(j))
	step("progress too small to read")
	j.BytesDone = 510_000
	m.apply(event(j))
	step("progress",
		"title 1 transfer, 50 %: 1 transfer, 51 %",
		"title file1  —  uploading, 50 %: file1  —  uploading, 51 %",
		"tooltip Berth: 1 transfer, 51 %")
	m.apply(control.Event{Type: "removed", ID: "j1"})
	step("removed",
		"title 1 transfer, 51 %: no transfers under way",
		"hide file1  —  uploading, 51 %",
		"disable Pause all", "disable Cancel all",
		"title Yes, cancel 1 transfer: Yes, cancel 0 transfers", "disable Yes, cancel 0 transfers",
		"icon 1", "tooltip Berth: no transfers under way")
}

func TestPressBecomesCommand(t *testing.T) {
	d, _, _ := fakeDriver(true)
	m := newModel()
	m.reset([]control.Job{job(1, "uploading"), job(2, "failed"), job(3, "paused")})
	now := time.Now()
	d.apply(m.menu(), now)
	one := func(id string) control.Select { return control.Select{IDs: []string{id}} }
	for _, c := range []struct {
		press press
		want  command
		ok    bool
	}{
		{press{actPause, 0}, command{actPause, control.Pause, one("j1")}, true},
		{press{actCancel, 0}, command{actCancel, control.Cancel, one("j1")}, true},
		{press{actResume, 1}, command{actResume, control.Retry, one("j2")}, true},
		{press{actResume, 2}, command{actResume, control.Resume, one("j3")}, true},
		{press{actPause, everyJob}, command{actPause, control.Pause, control.Select{All: true}}, true},
		{press{actResume, everyJob}, command{actResume, control.Resume, control.Select{All: true}}, true},
		{press{actCancel, everyJob}, command{actCancel, control.Cancel, control.Select{All: true}}, true},
		{press{actOpen, everyJob}, command{act: actOpen}, true},
		{press{actQuit, everyJob}, command{act: actQuit}, true},
		{press: press{actCancel, 9}},
	} {
		got, ok := d.command(c.press, now)
		if ok != c.ok || ok && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v: got %+v %v, want %+v %v", c.press, got, ok, c.want, c.ok)
		}
	}
}

// TestMisclickGuard: a row that has just passed to another job takes no click,
// because it was meant for the job before.
func TestMisclickGuard(t *testing.T) {
	d, _, _ := fakeDriver(true)
	m := newModel()
	m.reset(jobs(1, 10, "done"))
	now := time.Now()
	d.apply(m.menu(), now)
	m.apply(event(job(11, "uploading")))
	d.apply(m.menu(), now)
	if c, ok := d.command(press{actCancel, 0}, now.Add(misclickGuard/2)); ok {
		t.Errorf("too early, and yet %+v", c)
	}
	if c, ok := d.command(press{actCancel, 0}, now.Add(misclickGuard)); !ok || c.jobs.IDs[0] != "j11" {
		t.Errorf("later: %+v %v", c, ok)
	}
}
