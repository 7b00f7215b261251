package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"berth/control"
	"berth/transfer"
	"berth/transfer/sftp"
)

func (p *program) destinationsTestCommand() *cobra.Command {
	var fingerprint string
	c := command("test NAME", "See whether a destination can be reached and lets you in", cobra.ExactArgs(1))
	c.Flags().StringVar(&fingerprint, "accept-host-key", "", "trust an SSH server with this `fingerprint` (SHA256:…), and no other")
	c.RunE = func(c *cobra.Command, args []string) error {
		return p.destinationsTest(c.Context(), args[0], fingerprint)
	}
	return c
}

// destinationsTest runs in this process and not in the controller's: here is the
// person who can answer for an unknown host key.
func (p *program) destinationsTest(ctx context.Context, name, fingerprint string) error {
	if name == localName {
		return p.testLocal(ctx)
	}
	path, c, err := p.config()
	if err != nil {
		return err
	}
	if name, err = c.resolve(name); err != nil {
		return err
	}
	known := hostKeysBeside(path)
	known.decide = p.askAbout
	if fingerprint != "" {
		if !strings.HasPrefix(fingerprint, "SHA256:") {
			return usage("a fingerprint begins with SHA256:", "`ssh-keygen -lf KEYFILE` on the server prints it.")
		}
		known.decide = acceptOnly(fingerprint)
	}
	b, err := newBackend(c.Destinations[name], secretsBeside(path), known)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*probeTime)
	defer cancel()
	if err := probe(ctx, b); err != nil {
		return destinationError(name, c.Destinations[name], err)
	}
	fmt.Fprintf(p.out, "%s (%s) can be reached and lets you in\n", name, c.Destinations[name].URL)
	return nil
}

// testLocal asks the controller, in which the local destination lives.
func (p *program) testLocal(ctx context.Context) error {
	client, err := p.running()
	if err != nil {
		return err
	}
	if err := client.TestDestination(ctx, localName); err != nil {
		return err
	}
	fmt.Fprintln(p.out, "local works")
	return nil
}

// destinationError adds the next step to what a backend says.
func destinationError(name string, d destination, err error) error {
	if e, ok := errors.AsType[*control.Error](err); ok {
		return e
	}
	if k, ok := errors.AsType[*sftp.HostKeyError](err); ok {
		return failure(control.CodeRefused,
			"Only when its administrator has confirmed the new key: remove the server's line from the file known_hosts beside the configuration, and test again.",
			"%s: %v", name, k)
	}
	if errors.Is(err, transfer.ErrUnauthorized) {
		return failure(control.CodeRefused,
			"Check the user name in the URL, and set the password with `controller destinations password "+name+"`.",
			"%s (%s) refuses: %v", name, d.URL, err)
	}
	return failure(control.CodeFailed, "Check that the server runs, its name and its port.",
		"%s (%s) cannot be used: %v", name, d.URL, err)
}
