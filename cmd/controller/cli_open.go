package main

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/spf13/cobra"

	"berth/control/monitor"
)

func (p *program) openCommand() *cobra.Command {
	var noBrowser bool
	c := command("open", "Open the monitor page of this session in the browser", cobra.NoArgs)
	c.Flags().BoolVar(&noBrowser, "no-browser", false, "only print which file leads there")
	c.RunE = func(c *cobra.Command, _ []string) error {
		file, err := p.monitorFile(c.Context())
		if err != nil {
			return err
		}
		if !noBrowser && browse(file) == nil {
			fmt.Fprintln(p.out, "The monitor page opens in the browser.")
			return nil
		}
		fmt.Fprintf(p.out, "Open this file in a browser within two minutes; only you can read it, and it works once:\n%s\n", file)
		return nil
	}
	return c
}

// monitorFile asks the controller, started if need be, for a way in, and writes
// it where only this user can read it: an argument list would show the token.
func (p *program) monitorFile(ctx context.Context) (string, error) {
	s, err := p.session()
	if err != nil {
		return "", err
	}
	client, leave, err := p.started(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	access, err := client.OpenMonitor(ctx)
	if err != nil {
		return "", err
	}
	dir, err := s.RuntimeDir()
	if err != nil {
		return "", err
	}
	return monitor.OpenFile(dir, access)
}

// openMonitor is what the tray does.
func (p *program) openMonitor(ctx context.Context) error {
	file, err := p.monitorFile(ctx)
	if err != nil {
		return err
	}
	return browse(file)
}

// browse shows a file in the browser, and does not wait for it.
func browse(file string) error {
	name, args := browser(file)
	c := exec.Command(name, args...)
	detach(c)
	if err := c.Start(); err != nil {
		return err
	}
	go func() { _ = c.Wait() }()
	return nil
}
