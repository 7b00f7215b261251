package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"berth/control"
)

func (p *program) statusCommand() *cobra.Command {
	var asJSON bool
	c := command("status", "Show the controller of this session", cobra.NoArgs)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.RunE = func(c *cobra.Command, _ []string) error { return p.status(c.Context(), asJSON) }
	return c
}

func (p *program) status(ctx context.Context, asJSON bool) error {
	client, err := p.running()
	if err != nil {
		return err
	}
	st, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.out, st)
	}
	rows := [][]string{
		{"controller", fmt.Sprintf("pid %d, %s, version %s", st.PID, st.State, st.Version)},
		{"session", st.Session},
		{"port", fmt.Sprintf("%d, generation %d", st.Port, st.Generation)},
		{"running for", duration(st.Uptime)},
	}
	rows = append(rows, engineRows(st)...)
	for _, state := range slices.Sorted(maps.Keys(st.Jobs)) {
		rows = append(rows, []string{"jobs " + state, fmt.Sprint(st.Jobs[state])})
	}
	return table(p.out, rows...)
}

func (p *program) listCommand() *cobra.Command {
	var asJSON bool
	var f control.Filter
	c := command("list", "List the jobs", func(_ *cobra.Command, rest []string) error {
		if f.Limit < 0 {
			return errors.New("a limit cannot be below zero")
		}
		return cobra.NoArgs(nil, rest)
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per job")
	c.Flags().IntVar(&f.Limit, "limit", 0, "only the newest `N`")
	c.Flags().StringVar(&f.Before, "before", "", "only those accepted before the job `ID`: the next page")
	c.Flags().StringSliceVar(&f.States, "state", nil, "only jobs in these `states`: "+stateNames())
	c.RunE = func(c *cobra.Command, _ []string) error { return p.list(c.Context(), asJSON, f) }
	return c
}

func (p *program) list(ctx context.Context, asJSON bool, f control.Filter) error {
	client, err := p.running()
	if err != nil {
		return err
	}
	jobs, err := client.List(ctx, f)
	if err != nil {
		return err
	}
	if asJSON {
		for _, j := range jobs {
			err = errors.Join(err, printJSON(p.out, j))
		}
		return err
	}
	if len(jobs) == 0 {
		text := "There are no jobs. `controller add FILE` makes one."
		if f.Before != "" || len(f.States) > 0 {
			text = "There are no such jobs. `controller list` shows all."
		}
		_, err = fmt.Fprintln(p.out, text)
		return err
	}
	return jobTable(p.out, jobs)
}

func (p *program) verbCommand(verb control.Verb, short string) *cobra.Command {
	var sel control.Select
	c := command(string(verb)+" (ID…|--all)", short, func(_ *cobra.Command, ids []string) error {
		if (len(ids) > 0) == sel.All {
			return errors.New("name jobs by ID, or give --all")
		}
		return nil
	})
	c.Flags().BoolVar(&sel.All, "all", false, "all jobs for which it makes sense")
	c.RunE = func(c *cobra.Command, ids []string) error {
		sel.IDs = ids
		return p.do(c.Context(), verb, sel)
	}
	return c
}

// do commands jobs. It fails when one of them did, after telling about all.
func (p *program) do(ctx context.Context, verb control.Verb, sel control.Select) error {
	client, err := p.running()
	if err != nil {
		return err
	}
	outcomes, err := client.Do(ctx, verb, sel)
	if err != nil {
		return err
	}
	failed := 0
	for _, o := range outcomes {
		if o.Error != "" {
			failed++
			report(p.err, o.ID, errors.New(o.Error))
			continue
		}
		fmt.Fprintf(p.out, "%s %s\n", o.ID, o.State)
	}
	if failed > 0 {
		return failure(control.CodeFailed, "See `controller list`.", "%s failed for %d of %d jobs", verb, failed, len(outcomes))
	}
	return nil
}
