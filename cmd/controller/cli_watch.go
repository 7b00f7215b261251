package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"berth/control"
)

func (p *program) watchCommand() *cobra.Command {
	var asJSON bool
	c := command("watch", "Show progress as it happens, until interrupted", cobra.NoArgs)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per event")
	c.RunE = func(c *cobra.Command, _ []string) error { return p.watch(c.Context(), asJSON) }
	return c
}

func (p *program) watch(ctx context.Context, asJSON bool) error {
	client, err := p.running()
	if err != nil {
		return err
	}
	if asJSON {
		for ev := range client.Watch(ctx) {
			err = errors.Join(err, printJSON(p.out, ev))
		}
		return err
	}
	d := newDisplay(p.out)
	defer d.close()
	for ev := range client.Watch(ctx) {
		showEvent(d, ev)
		if ev.Type == control.EventDraining {
			fmt.Fprintln(p.err, "The controller is ending; its jobs go on with the next one.")
		}
	}
	return nil
}

func showEvent(d display, ev control.Event) {
	switch ev.Type {
	case control.EventJob:
		d.show(*ev.Job)
	case control.EventRemoved:
		d.gone(ev.ID)
	}
}

// follow shows one job until it is finished. It lives through crashes of the
// controller; when somebody ends the controller on purpose it is not started
// again for this.
func (p *program) follow(ctx context.Context, client *control.Client, id string) (control.Job, error) {
	d := newDisplay(p.err)
	defer d.close()
	for ev := range client.Watch(ctx) {
		if ev.Type == control.EventDraining {
			return control.Job{}, failure(control.CodeDraining, "Look for it later with `controller list`.",
				"the controller is ending; job %s goes on with the next one", id)
		}
		if ev.Type != control.EventJob || ev.Job.ID != id {
			continue
		}
		d.show(*ev.Job)
		if finished(*ev.Job) {
			return *ev.Job, outcome(*ev.Job)
		}
	}
	return control.Job{}, failure(control.CodeFailed, "The job goes on in the background: see `controller list`.",
		"stopped waiting for job %s", id)
}

// outcome is the error of a finished job that has not arrived.
func outcome(j control.Job) error {
	switch j.State {
	case "failed":
		return failure(cmp.Or(j.ErrorCode, control.CodeFailed), "Mend the cause, then run `controller retry "+j.ID+"`.",
			"job %s failed: %s", j.ID, j.Error)
	case "canceled":
		return failure(control.CodeFailed, "", "job %s was canceled", j.ID)
	}
	return nil
}
