package tray

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"berth/control"
)

// The states of a job, in the words of the control API.
const (
	stateQueued    = "queued"
	stateUploading = "uploading"
	statePaused    = "paused"
	stateVerifying = "verifying"
	stateDone      = "done"
	stateFailed    = "failed"
	stateCanceled  = "canceled"
)

// rowCount is how many jobs the menu shows.
const rowCount = 10

// mood is what the icon says.
type mood int

const (
	moodAway   mood = iota // the controller does not answer
	moodIdle               // nothing is moving
	moodActive             // at least one upload is moving
	moodPaused             // there is unfinished work and all of it is paused
	moodError              // a job needs a person
)

// menu is the contents of the tray at one moment. It is a value: two are equal
// when nothing needs to change on the desktop.
type menu struct {
	mood                           mood
	tooltip                        string
	header                         string
	rows                           [rowCount]row
	pauseAll, resumeAll, cancelAll bool   // what can be done now
	question                       string // asked before all are canceled
}

// row is one job. The zero row is hidden.
type row struct {
	id                    string
	text                  string
	revive                control.Verb // resume, or retry for a job that ended without being done
	pause, resume, cancel bool         // what can be done to it now
}

// model is what the tray knows of the controller's jobs. It belongs to one
// goroutine.
//
// A row keeps its job for as long as the job can be acted upon: if rows moved
// while a menu is open, a click meant for one job would reach another. So new
// jobs take free rows, and when none is free the row of the job that ended
// first; they are not sorted.
type model struct {
	jobs     map[string]control.Job
	slots    [rowCount]string // job id of each row, "" when free
	away     bool
	draining bool
}

func newModel() *model {
	return &model{jobs: map[string]control.Job{}, away: true}
}

// reset replaces all jobs: the controller answers and these are its jobs.
func (m *model) reset(jobs []control.Job) {
	clear(m.jobs)
	for _, j := range jobs {
		m.jobs[j.ID] = j
	}
	m.away, m.draining = false, false
	m.assign()
}

// apply takes in one event of the watch stream.
func (m *model) apply(e control.Event) {
	switch {
	case e.Type == control.EventJob && e.Job != nil:
		before, known := m.jobs[e.Job.ID]
		m.jobs[e.Job.ID] = *e.Job
		if known && before.State == e.Job.State {
			return // progress moves no rows
		}
	case e.Type == control.EventRemoved:
		delete(m.jobs, e.ID)
	case e.Type == control.EventDraining:
		m.draining = true
	case e.Type == control.EventLost:
		m.leave()
	case e.Type == control.EventReady: // a client's stream found the next controller
		m.away, m.draining = false, false
	}
	m.assign()
}

// leave notes that the controller no longer answers. The jobs stay visible,
// but nothing can be done to them until the next reset.
func (m *model) leave() { m.away = true }

// assign gives rows to jobs by the rule above model.
func (m *model) assign() {
	for i, id := range m.slots {
		if _, known := m.jobs[id]; !known {
			m.slots[i] = ""
		}
	}
	var in []control.Job
	for _, j := range m.waiting() {
		if len(in) == m.free() && !m.evictFor(j) {
			break
		}
		in = append(in, j)
	}
	slices.SortFunc(in, compareAge) // of several newcomers the oldest stands on top
	for _, j := range in {
		m.slots[slices.Index(m.slots[:], "")] = j.ID
	}
}

// waiting are the jobs without a row, those worth most first.
func (m *model) waiting() (out []control.Job) {
	for id, j := range m.jobs {
		if !slices.Contains(m.slots[:], id) {
			out = append(out, j)
		}
	}
	slices.SortFunc(out, func(a, b control.Job) int { return compareWorth(b, a) })
	return out
}

func (m *model) free() (n int) {
	for _, id := range m.slots {
		if id == "" {
			n++
		}
	}
	return n
}

// evictFor frees the row worth least, if its job has ended and is worth less
// than the newcomer.
func (m *model) evictFor(newcomer control.Job) bool {
	least := -1
	for i, id := range m.slots {
		if id == "" || !ended(m.jobs[id]) {
			continue
		}
		if least < 0 || compareWorth(m.jobs[id], m.jobs[m.slots[least]]) < 0 {
			least = i
		}
	}
	if least < 0 || compareWorth(m.jobs[m.slots[least]], newcomer) >= 0 {
		return false
	}
	m.slots[least] = ""
	return true
}

// compareWorth orders jobs by how much they deserve a row: unfinished ones
// first, then failed ones, then the rest; newer before older.
func compareWorth(a, b control.Job) int {
	return cmp.Or(cmp.Compare(rank(a), rank(b)), compareAge(a, b))
}

func compareAge(a, b control.Job) int {
	return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
}

func rank(j control.Job) int {
	switch {
	case !ended(j):
		return 2
	case j.State == stateFailed:
		return 1
	}
	return 0
}

func ended(j control.Job) bool {
	return j.State == stateDone || j.State == stateFailed || j.State == stateCanceled
}

// menu is what the desktop should show now.
func (m *model) menu() menu {
	t := m.tally()
	open := !m.away && !m.draining
	v := menu{
		mood:      m.mood(t),
		header:    m.header(t),
		pauseAll:  open && t.running > 0,
		resumeAll: open && t.paused > 0,
		cancelAll: open && t.unfinished()+t.failed > 0,
		question:  "Yes, cancel " + plural(t.unfinished()+t.failed, "transfer"),
	}
	v.tooltip = "Berth: " + v.header
	for i, id := range m.slots {
		if id != "" {
			v.rows[i] = rowOf(m.jobs[id], open)
		}
	}
	return v
}

func rowOf(j control.Job, open bool) row {
	r := row{id: j.ID, text: jobText(j), revive: control.Resume}
	if j.State == stateFailed || j.State == stateCanceled {
		r.revive = control.Retry
	}
	if !open {
		return r
	}
	r.pause = !ended(j) && j.State != statePaused
	r.resume = j.State == statePaused || j.State == stateFailed || j.State == stateCanceled
	r.cancel = j.State != stateDone && j.State != stateCanceled
	return r
}

// tally counts the jobs by what a person cares about.
type tally struct {
	running, uploading, paused, failed int
	done, total                        int64 // bytes of unfinished jobs
	rate                               float64
}

func (t tally) unfinished() int { return t.running + t.paused }

func (m *model) tally() (t tally) {
	for _, j := range m.jobs {
		switch {
		case j.State == stateFailed:
			t.failed++
			continue
		case ended(j):
			continue
		case j.State == statePaused:
			t.paused++
		default:
			t.running++
		}
		if j.State == stateUploading {
			t.uploading++
			t.rate += j.Rate
		}
		t.done += j.BytesDone
		t.total += j.BytesTotal
	}
	return t
}

func (m *model) mood(t tally) mood {
	switch {
	case m.away || m.draining:
		return moodAway
	case t.failed > 0:
		return moodError
	case t.running > 0:
		return moodActive
	case t.paused > 0:
		return moodPaused
	}
	return moodIdle
}

func (m *model) header(t tally) string {
	switch {
	case m.draining:
		return "the controller is ending"
	case m.away:
		return "the controller does not answer"
	case t.unfinished()+t.failed == 0:
		return "no transfers under way"
	}
	var parts []string
	if t.running > 0 {
		parts = append(parts, plural(t.running, "transfer")+", "+percent(t.done, t.total)+rateText(t.rate))
	}
	if t.paused > 0 {
		parts = append(parts, fmt.Sprintf("%d paused", t.paused))
	}
	if t.failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", t.failed))
	}
	if hidden := m.hidden(); hidden > 0 {
		parts = append(parts, fmt.Sprintf("%d more in the monitor", hidden))
	}
	return strings.Join(parts, " · ")
}

// hidden counts unfinished jobs that found no row.
func (m *model) hidden() (n int) {
	for id, j := range m.jobs {
		if !ended(j) && !slices.Contains(m.slots[:], id) {
			n++
		}
	}
	return n
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
