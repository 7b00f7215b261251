package tray

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"berth/control"

	"pgregory.net/rapid"
)

// job makes the n-th job; later ones are newer.
func job(n int, state string) control.Job {
	return control.Job{
		ID: fmt.Sprintf("j%d", n), Name: fmt.Sprintf("file%d", n), State: state,
		BytesTotal: 100, BytesDone: 50,
		Created: time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC),
	}
}

func jobs(from, to int, state string) (out []control.Job) {
	for n := from; n <= to; n++ {
		out = append(out, job(n, state))
	}
	return out
}

func ids(m menu) (out []string) {
	for _, r := range m.rows {
		if r.id != "" {
			out = append(out, r.id)
		}
	}
	return out
}

func names(from, to int) (out []string) {
	for _, j := range jobs(from, to, "") {
		out = append(out, j.ID)
	}
	return out
}

func TestWhichJobsAreShown(t *testing.T) {
	for name, c := range map[string]struct {
		start  []control.Job
		events []control.Event
		want   []string
	}{
		"none":               {nil, nil, nil},
		"oldest on top":      {slices.Concat(jobs(3, 3, "done"), jobs(1, 2, "uploading")), nil, names(1, 3)},
		"newest ten":         {jobs(1, 30, "done"), nil, names(21, 30)},
		"unfinished first":   {slices.Concat(jobs(1, 2, "paused"), jobs(3, 30, "done")), nil, append(names(1, 2), names(23, 30)...)},
		"failed before done": {slices.Concat(jobs(1, 1, "failed"), jobs(2, 30, "done")), nil, append(names(1, 1), names(22, 30)...)},
		"a new one takes the row of the oldest that ended": {
			slices.Concat(jobs(1, 4, "uploading"), jobs(5, 10, "done")),
			[]control.Event{event(job(11, "queued"))},
			[]string{"j1", "j2", "j3", "j4", "j11", "j6", "j7", "j8", "j9", "j10"},
		},
		"a new one never takes the row of an unfinished one": {
			jobs(1, 10, "uploading"),
			[]control.Event{event(job(11, "queued"))},
			names(1, 10),
		},
		"it takes it when that one ends": {
			jobs(1, 10, "uploading"),
			[]control.Event{event(job(11, "queued")), event(job(4, "done"))},
			[]string{"j1", "j2", "j3", "j11", "j5", "j6", "j7", "j8", "j9", "j10"},
		},
		"a removed one leaves and others stay": {
			jobs(1, 3, "uploading"),
			[]control.Event{{Type: "removed", ID: "j2"}},
			[]string{"j1", "j3"},
		},
		"a free row is filled": {
			jobs(1, 11, "done"),
			[]control.Event{{Type: "removed", ID: "j5"}},
			[]string{"j2", "j3", "j4", "j1", "j6", "j7", "j8", "j9", "j10", "j11"},
		},
		"an old one that ended does not displace a newer one": {
			jobs(2, 11, "done"),
			[]control.Event{event(job(1, "done"))},
			names(2, 11),
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel()
			m.reset(c.start)
			for _, e := range c.events {
				m.apply(e)
			}
			if got := ids(m.menu()); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func event(j control.Job) control.Event { return control.Event{Type: "job", Job: &j} }

func TestWhatCanBeDone(t *testing.T) {
	for state, want := range map[string]row{
		"queued":    {pause: true, cancel: true, revive: control.Resume},
		"uploading": {pause: true, cancel: true, revive: control.Resume},
		"verifying": {pause: true, cancel: true, revive: control.Resume},
		"paused":    {resume: true, cancel: true, revive: control.Resume},
		"failed":    {resume: true, cancel: true, revive: control.Retry},
		"canceled":  {resume: true, revive: control.Retry},
		"done":      {revive: control.Resume},
	} {
		m := newModel()
		m.reset(jobs(1, 1, state))
		got := m.menu().rows[0]
		got.id, got.text = "", ""
		if got != want {
			t.Errorf("%s: got %+v, want %+v", state, got, want)
		}
		m.leave()
		if got := m.menu().rows[0]; got.pause || got.resume || got.cancel || got.text == "" {
			t.Errorf("%s without a controller: %+v", state, got)
		}
	}
}

func TestSummary(t *testing.T) {
	up := job(1, "uploading")
	up.Rate = 1 << 20
	for name, c := range map[string]struct {
		jobs                  []control.Job
		after                 func(*model)
		mood                  mood
		header                string
		pause, resume, cancel bool
	}{
		"nothing":       {mood: moodIdle, header: "no transfers under way"},
		"all done":      {jobs: jobs(1, 3, "done"), mood: moodIdle, header: "no transfers under way"},
		"one moves":     {jobs: []control.Job{up}, mood: moodActive, header: "1 transfer, 50 %, 1.0 MiB/s", pause: true, cancel: true},
		"some wait":     {jobs: jobs(1, 2, "queued"), mood: moodActive, header: "2 transfers, 50 %", pause: true, cancel: true},
		"all paused":    {jobs: jobs(1, 2, "paused"), mood: moodPaused, header: "2 paused", resume: true, cancel: true},
		"one failed":    {jobs: append(jobs(2, 2, "failed"), up, job(3, "paused")), mood: moodError, header: "1 transfer, 50 %, 1.0 MiB/s · 1 paused · 1 failed", pause: true, resume: true, cancel: true},
		"more than fit": {jobs: jobs(1, 12, "queued"), mood: moodActive, header: "12 transfers, 50 % · 2 more in the monitor", pause: true, cancel: true},
		"no answer":     {jobs: []control.Job{up}, after: (*model).leave, mood: moodAway, header: "the controller does not answer"},
		"lost":          {jobs: []control.Job{up}, after: func(m *model) { m.apply(control.Event{Type: "lost"}) }, mood: moodAway, header: "the controller does not answer"},
		"lost and found": {jobs: []control.Job{up}, after: func(m *model) {
			m.apply(control.Event{Type: "draining"})
			m.apply(control.Event{Type: "lost"})
			m.apply(control.Event{Type: "ready"})
		}, mood: moodActive, header: "1 transfer, 50 %, 1.0 MiB/s", pause: true, cancel: true},
		"it is draining": {jobs: []control.Job{up}, after: func(m *model) { m.apply(control.Event{Type: "draining"}) }, mood: moodAway, header: "the controller is ending"},
	} {
		m := newModel()
		m.reset(c.jobs)
		if c.after != nil {
			c.after(m)
		}
		v := m.menu()
		if v.mood != c.mood || v.header != c.header || v.pauseAll != c.pause || v.resumeAll != c.resume || v.cancelAll != c.cancel {
			t.Errorf("%s: %+v", name, v)
		}
		if v.tooltip != "Berth: "+c.header {
			t.Errorf("%s: tooltip %q", name, v.tooltip)
		}
	}
	if v := newModel().menu(); v.mood != moodAway {
		t.Errorf("before the first answer: %+v", v)
	}
}

// TestRowsHoldStill checks what clicks rely on, over random histories: a row
// keeps its job while the job is unfinished, no job has two rows, and no row
// is wasted.
func TestRowsHoldStill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		m.reset(nil)
		states := []string{"queued", "uploading", "paused", "verifying", "done", "failed", "canceled"}
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			before := m.menu()
			n := rapid.IntRange(1, 25).Draw(t, "job")
			if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
				m.apply(control.Event{Type: "removed", ID: fmt.Sprintf("j%d", n)})
			} else {
				m.apply(event(job(n, rapid.SampledFrom(states).Draw(t, "state"))))
			}
			checkRows(t, m, before, m.menu())
		}
	})
}

func checkRows(t *rapid.T, m *model, before, after menu) {
	for i, r := range before.rows {
		j, known := m.jobs[r.id]
		if known && !ended(j) && after.rows[i].id != r.id {
			t.Fatalf("row %d went from unfinished %s to %q", i, r.id, after.rows[i].id)
		}
	}
	shown := ids(after)
	slices.Sort(shown)
	if len(slices.Compact(slices.Clone(shown))) != len(shown) {
		t.Fatalf("a job has two rows: %v", shown)
	}
	if want := min(rowCount, len(m.jobs)); len(shown) != want {
		t.Fatalf("%d rows for %d jobs", len(shown), len(m.jobs))
	}
	for id, j := range m.jobs {
		if ended(j) || slices.Contains(shown, id) {
			continue
		}
		for _, s := range shown {
			if ended(m.jobs[s]) {
				t.Fatalf("%s is unfinished and hidden while %s has ended and is shown", id, s)
			}
		}
	}
}
