package tray

import (
	"time"

	"berth/control"
)

// item is one line of a desktop's menu; both libraries' *MenuItem is one.
type item interface {
	SetTitle(string)
	Show()
	Hide()
	Enable()
	Disable()
}

// toolkit is what the tray needs of a library. Its methods are called from one
// goroutine at a time.
type toolkit interface {
	// add appends a line below parent, or to the menu itself when parent is
	// nil. The library drops clicks that nobody is waiting for.
	add(parent item, title string) (item, <-chan struct{})
	separator()
	icon(mood)
	tooltip(string) // shown beside the pointer
	// busy says that a person has the menu open and the desktop cannot bear
	// changes of an open menu. A click closes the menu; clicked is the last one.
	busy(clicked time.Time) bool
}

// line is an item and what it shows now.
type line struct {
	item
	title            string
	hidden, disabled bool
}

// set changes what differs and says whether anything did. A hidden item is
// left alone until it is shown again: on Windows any change puts it back into
// the menu.
func (l *line) set(title string, visible, enabled bool) bool {
	before := *l
	switch {
	case !visible && !l.hidden:
		l.Hide()
		l.hidden = true
		return true
	case !visible:
		return false
	}
	if title != l.title {
		l.SetTitle(title)
		l.title = title
	}
	if enabled && l.disabled {
		l.Enable()
		l.disabled = false
	} else if !enabled && !l.disabled {
		l.Disable()
		l.disabled = true
	}
	if l.hidden {
		l.Show()
		l.hidden = false
	}
	return *l != before
}

// jobLines are the lines of one row.
type jobLines struct {
	top, pause, resume, cancel *line
}

// driver brings a desktop's menu to the contents that the model wants. It
// belongs to one goroutine.
type driver struct {
	kit    toolkit
	listen func(clicks <-chan struct{}, p press)
	shown  menu
	taken  [rowCount]time.Time // when a row last passed from one job to another

	header                         *line
	rows                           [rowCount]jobLines
	pauseAll, resumeAll, cancelAll *line
	question                       *line
}

// press is a click. Row is the row of the job it is about, or everyJob.
type press struct {
	act act
	row int
}

const everyJob = -1

// act is what a line of the menu does.
type act int

const (
	actPause act = iota
	actResume
	actCancel
	actOpen
	actQuit
)

// newDriver makes every line the menu will ever have and passes the clicks of
// each to listen.
func newDriver(kit toolkit, listen func(<-chan struct{}, press), canOpen bool) *driver {
	d := &driver{kit: kit, listen: listen}
	d.header = d.label(nil, "Berth")
	kit.separator()
	for i := range d.rows {
		d.rows[i] = d.newRow(i)
	}
	kit.separator()
	d.pauseAll = d.button(nil, "Pause all", press{actPause, everyJob})
	d.resumeAll = d.button(nil, "Resume all", press{actResume, everyJob})
	d.cancelAll = d.label(nil, "Cancel all")
	d.question = d.button(d.cancelAll, "Yes, cancel all", press{actCancel, everyJob})
	kit.separator()
	if canOpen {
		d.button(nil, "Open the monitor", press{actOpen, everyJob})
	}
	d.button(nil, "Quit", press{actQuit, everyJob})
	// The row below a hidden one cannot be made on Windows, so all are made
	// first and hidden by this first change.
	kit.icon(moodAway)
	d.update(menu{header: "Berth", question: "Yes, cancel all"})
	return d
}

func (d *driver) newRow(i int) jobLines {
	top := d.label(nil, "-")
	return jobLines{
		top:    top,
		pause:  d.button(top, "Pause", press{actPause, i}),
		resume: d.button(top, "Resume", press{actResume, i}),
		cancel: d.button(top, "Cancel", press{actCancel, i}),
	}
}

func (d *driver) label(parent *line, title string) *line {
	it, _ := d.kit.add(itemOf(parent), title)
	return &line{item: it, title: title}
}

func (d *driver) button(parent *line, title string, p press) *line {
	it, clicks := d.kit.add(itemOf(parent), title)
	d.listen(clicks, p)
	return &line{item: it, title: title}
}

func itemOf(l *line) item {
	if l == nil {
		return nil
	}
	return l.item
}

// apply shows m and says whether anything changed on the desktop.
func (d *driver) apply(m menu, now time.Time) bool {
	for i, r := range m.rows {
		if was := d.shown.rows[i].id; was != "" && was != r.id {
			d.taken[i] = now
		}
	}
	changed := d.update(m)
	d.look(m.mood)
	if m.tooltip != d.shown.tooltip {
		d.kit.tooltip(m.tooltip)
		changed = true
	}
	d.shown = m
	return changed
}

// look changes the icon, which disturbs no open menu and so needs no pacing.
func (d *driver) look(m mood) {
	if m != d.shown.mood {
		d.kit.icon(m)
		d.shown.mood = m
	}
}

func (d *driver) update(m menu) bool {
	changed := d.header.set(m.header, true, false)
	for i, r := range m.rows {
		changed = d.rows[i].set(r) || changed
	}
	for _, l := range []struct {
		line    *line
		title   string
		enabled bool
	}{
		{d.pauseAll, "Pause all", m.pauseAll},
		{d.resumeAll, "Resume all", m.resumeAll},
		{d.cancelAll, "Cancel all", m.cancelAll},
		{d.question, m.question, m.cancelAll},
	} {
		changed = l.line.set(l.title, true, l.enabled) || changed
	}
	return changed
}

func (l jobLines) set(r row) bool {
	if r.id == "" {
		return l.top.set("", false, false)
	}
	revive := "Resume"
	if r.revive == control.Retry {
		revive = "Retry"
	}
	changed := l.pause.set("Pause", true, r.pause)
	changed = l.resume.set(revive, true, r.resume) || changed
	changed = l.cancel.set("Cancel", true, r.cancel) || changed
	return l.top.set(r.text, true, true) || changed
}

// misclickGuard is how long a row that passed from one job to another takes no
// clicks: the hand may still be on its way to the job that was there.
const misclickGuard = time.Second

// command is what a press means for what the desktop shows now. ok is false
// for a press that means nothing (any more).
func (d *driver) command(p press, now time.Time) (c command, ok bool) {
	c.act = p.act
	c.verb = map[act]control.Verb{
		actPause: control.Pause, actResume: control.Resume, actCancel: control.Cancel,
	}[p.act]
	switch {
	case c.verb == "":
		return c, true
	case p.row == everyJob:
		c.jobs.All = true
		return c, true
	}
	r := d.shown.rows[p.row]
	if r.id == "" || now.Sub(d.taken[p.row]) < misclickGuard {
		return c, false
	}
	if p.act == actResume {
		c.verb = r.revive
	}
	c.jobs.IDs = []string{r.id}
	return c, true
}
