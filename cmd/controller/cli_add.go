package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/control"
)

// addOptions are the flags of `add`.
type addOptions struct {
	to, name   string
	wait, json bool
}

func (p *program) addCommand() *cobra.Command {
	var o addOptions
	c := command("add FILE…", "Send files in the background, and print their links", cobra.MinimumNArgs(1))
	c.Flags().StringVar(&o.to, "to", "", "`destination`; default: see `controller destinations list`")
	c.Flags().StringVar(&o.name, "name", "", "name of the package; default: the first file's")
	c.Flags().BoolVar(&o.wait, "wait", false, "wait until everything has arrived")
	c.Flags().BoolVar(&o.json, "json", false, "print the job as JSON")
	c.RunE = func(c *cobra.Command, files []string) error { return p.add(c.Context(), o, files) }
	return c
}

func (p *program) add(ctx context.Context, o addOptions, files []string) error {
	client, leave, err := p.started(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if o.name == "" {
		o.name = filepath.Base(files[0])
	}
	job, err := collect(ctx, client, o, files)
	if err != nil {
		return err
	}
	if o.wait {
		if job, err = p.follow(ctx, client, job.ID); err != nil {
			if o.json && job.ID != "" { // how it ended, for programs
				err = errors.Join(err, printJSON(p.out, job))
			}
			return err
		}
	}
	return p.printAdded(job, o.json)
}

// collect builds and commits a package; what fails half-way leaves nothing.
func collect(ctx context.Context, client *control.Client, o addOptions, files []string) (control.Job, error) {
	b, err := client.Collect(ctx, control.NewPackage{Name: o.name, Destination: o.to}, nil)
	if err != nil {
		return control.Job{}, err
	}
	for _, f := range files {
		path, err := filepath.Abs(f)
		if err == nil {
			_, err = b.AddFile(ctx, path, "")
		}
		if err != nil {
			discard(ctx, b)
			return control.Job{}, err
		}
	}
	return b.Commit(ctx)
}

// discard gives up a package that can't be completed. It is a courtesy: the
// controller forgets packages that nobody commits.
func discard(ctx context.Context, b *control.Builder) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = b.Discard(ctx)
}

func (p *program) printAdded(j control.Job, asJSON bool) error {
	if asJSON {
		return printJSON(p.out, j)
	}
	fmt.Fprintf(p.out, "%s %s\n", j.ID, j.State)
	for _, l := range j.Links {
		fmt.Fprintln(p.out, l)
	}
	return nil
}

func (p *program) linksCommand() *cobra.Command {
	var asHTML bool
	c := command("links ID", "Print the links of a job, for the mail body", cobra.ExactArgs(1))
	c.Flags().BoolVar(&asHTML, "html", false, "as HTML")
	c.RunE = func(c *cobra.Command, args []string) error { return p.links(c.Context(), args[0], asHTML) }
	return c
}

func (p *program) links(ctx context.Context, id string, asHTML bool) error {
	client, err := p.running()
	if err != nil {
		return err
	}
	j, err := findJob(ctx, client, id)
	if err != nil {
		return err
	}
	if asHTML {
		_, err = fmt.Fprint(p.out, htmlLinks(j))
		return err
	}
	var missing []string
	for _, it := range j.Items {
		if it.Link == "" {
			missing = append(missing, it.Name)
			continue
		}
		fmt.Fprintln(p.out, it.Link)
	}
	if len(missing) > 0 {
		return failure(control.CodeConflict, "Give the destination a link template, as in docs/operations.md.",
			"the destination %q gives no link for %s", j.Destination, strings.Join(missing, ", "))
	}
	return nil
}

func findJob(ctx context.Context, client *control.Client, id string) (control.Job, error) {
	jobs, err := client.List(ctx, control.Filter{IDs: []string{id}})
	if err != nil {
		return control.Job{}, err
	}
	if len(jobs) == 0 {
		return control.Job{}, failure(control.CodeNotFound, "See `controller list`.", "there is no job %q", id)
	}
	return jobs[0], nil
}
