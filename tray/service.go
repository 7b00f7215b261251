package tray

import (
	"context"
	"log/slog"
	"time"

	"berth/control"

	"github.com/cenkalti/backoff/v5"
)

// update is news from the controller: one event, all jobs, or its absence.
type update struct {
	event *control.Event
	jobs  []control.Job
	away  bool
}

func (u update) to(m *model) {
	switch {
	case u.away:
		m.leave()
	case u.event != nil:
		m.apply(*u.event)
	default:
		m.reset(u.jobs)
	}
}

// follow passes on what the controller says, through its restarts, until ctx
// is done.
func follow(ctx context.Context, s control.Jobs, out chan<- update) {
	send := func(u update) bool {
		select {
		case out <- u:
			return true
		case <-ctx.Done():
			return false
		}
	}
	again := backoff.NewExponentialBackOff()
	again.MaxInterval = 30 * time.Second
	for ctx.Err() == nil {
		if watch(ctx, s, send) {
			again.Reset()
		}
		if !send(update{away: true}) {
			return
		}
		select {
		case <-time.After(again.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// watch passes on one watch stream. The jobs it opens with are sent as one
// update, so that the ones that are gone leave the menu. It says whether the
// stream ever got that far.
func watch(ctx context.Context, s control.Jobs, send func(update) bool) (ready bool) {
	var jobs []control.Job
	for e := range s.Watch(ctx) {
		switch {
		case ready:
			if !send(update{event: &e}) {
				return ready
			}
		case e.Type == control.EventReady:
			ready = true
			if !send(update{jobs: jobs}) {
				return ready
			}
		case e.Type == control.EventJob && e.Job != nil:
			jobs = append(jobs, *e.Job)
		}
	}
	return ready
}

// command is what a click asks for. Verb is "" for what is about no jobs.
type command struct {
	act  act
	verb control.Verb
	jobs control.Select
}

// LogValue names the command in logs.
func (c command) LogValue() slog.Value {
	if c.verb == "" {
		return slog.StringValue(map[act]string{actOpen: "open", actQuit: "quit"}[c.act])
	}
	return slog.GroupValue(slog.String("verb", string(c.verb)), slog.Any("jobs", c.jobs.IDs), slog.Bool("all", c.jobs.All))
}

// commandTime bounds one command: a controller that does not answer must not
// hold up the commands behind it for ever.
const commandTime = 30 * time.Second

// serve carries commands out, one after the other, in the order of the clicks.
func (t *tray) serve(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-t.commands:
			if err := t.carryOut(ctx, c); err != nil && ctx.Err() == nil {
				t.cfg.Log.Error("tray: a command failed", "command", c, "error", err)
			}
		}
	}
}

func (t *tray) carryOut(ctx context.Context, c command) error {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	switch c.act {
	case actOpen:
		return t.cfg.Open(ctx)
	case actQuit:
		return t.cfg.Service.Quit(ctx)
	}
	outcomes, err := t.cfg.Service.Do(ctx, c.verb, c.jobs)
	for _, o := range outcomes {
		if o.Error != "" {
			t.cfg.Log.Warn("tray: a job did not obey", "verb", c.verb, "job", o.ID, "state", o.State, "error", o.Error)
		}
	}
	return err
}
