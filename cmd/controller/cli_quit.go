package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"berth/control"
	"berth/portshare"
)

// quitWait is how long `quit` waits for the controller to be gone. A controller
// takes 5 s at most.
const quitWait = 15 * time.Second

func (p *program) quitCommand() *cobra.Command {
	c := command("quit", "End the controller; accepted jobs go on with the next one", cobra.NoArgs)
	c.RunE = func(c *cobra.Command, _ []string) error { return p.quit(c.Context()) }
	return c
}

func (p *program) quit(ctx context.Context) error {
	client, err := p.running()
	if err != nil {
		return err
	}
	s, err := p.session()
	if err != nil {
		return err
	}
	rec, err := portshare.Join(s, app)
	if err != nil {
		return err
	}
	defer rec.Close()
	before, err := rec.Info()
	if err != nil {
		return err
	}
	if err := client.Quit(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, quitWait)
	defer cancel()
	_, err = rec.Wait(ctx, func(i portshare.Info) bool {
		return i.Generation != before.Generation || i.State == portshare.Reserved
	})
	if err != nil {
		return failure(control.CodeFailed, "Look at its log, which `controller doctor` names.",
			"the controller (pid %d) was asked to end but is still there", before.PID)
	}
	fmt.Fprintf(p.out, "the controller (pid %d) has ended\n", before.PID)
	return nil
}
