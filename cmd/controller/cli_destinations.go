package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"berth/control"
)

func (p *program) destinationsCommand() *cobra.Command {
	c := command("destinations", "List, add, test and remove the servers that packages go to", cobra.NoArgs)
	c.RunE = func(*cobra.Command, []string) error { return p.destinationsList(false) }
	var asJSON bool
	list := command("list", "List the destinations", cobra.NoArgs)
	list.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per destination")
	list.RunE = func(*cobra.Command, []string) error { return p.destinationsList(asJSON) }
	remove := command("remove NAME", "Forget a destination and its password", cobra.ExactArgs(1))
	remove.RunE = func(c *cobra.Command, args []string) error { return p.destinationsRemove(c.Context(), args[0]) }
	c.AddCommand(list, p.destinationsAddCommand(), p.destinationsTestCommand(), p.destinationsPasswordCommand(), remove)
	return c
}

func (p *program) destinationsList(asJSON bool) error {
	path, c, err := p.config()
	if err != nil {
		return err
	}
	rows := [][]string{{"NAME", "URL", ""}}
	for _, d := range c.list("(this machine)") {
		if asJSON {
			if err := printJSON(p.out, d); err != nil {
				return err
			}
			continue
		}
		mark := ""
		if d.Default {
			mark = "default"
		}
		rows = append(rows, []string{d.Name, d.URL, mark})
	}
	if asJSON {
		return nil
	}
	if err := table(p.out, rows...); err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.out, "\nThey are configured in", path)
	return err
}

// addOptionsOf are the flags of `destinations add`.
type newDestination struct {
	destination
	asDefault, passwordStdin, noPassword bool
}

func (p *program) destinationsAddCommand() *cobra.Command {
	var n newDestination
	c := command("add NAME URL", "Add a destination, such as sftp://user@host/dir", cobra.ExactArgs(2))
	c.Long = "Add a destination. Its URL begins with " + strings.Join(schemes, "://, ") + "://.\n" +
		"The path of sftp is absolute, or below the login directory after /~/; that of ftp is below it, or absolute after //.\n" +
		"The password is asked for on the terminal or read from standard input, and kept in the system's keyring."
	f := c.Flags()
	f.StringVar(&n.Path, "path", "", "where files go below the URL's directory; default: {id}/{name}")
	f.StringVar(&n.Link, "link", "", "template of the public link, such as https://host/{id}/{name}")
	f.BoolVar(&n.Overwrite, "overwrite", false, "replace a file of the same name instead of refusing (ftp, sftp)")
	f.StringVar(&n.KeyFile, "key-file", "", "private key for signing in (sftp)")
	f.BoolVar(&n.asDefault, "default", false, "send here when no destination is named")
	f.BoolVar(&n.passwordStdin, "password-stdin", false, "read the password, or the token of a tus server, from the first line of standard input")
	f.BoolVar(&n.noPassword, "no-password", false, "store no password")
	c.MarkFlagsMutuallyExclusive("password-stdin", "no-password")
	c.RunE = func(c *cobra.Command, args []string) error {
		n.URL = args[1]
		return p.destinationsAdd(c.Context(), args[0], n)
	}
	return c
}

func (p *program) destinationsAdd(ctx context.Context, name string, n newDestination) error {
	u, err := n.parse()
	if err == nil {
		err = checkName(name)
	}
	if err != nil {
		return usage(err.Error(), "See `controller destinations add --help`.")
	}
	path, err := p.newConfig()
	if err != nil {
		return err
	}
	secret, err := p.askPassword(u, n)
	if err != nil {
		return err
	}
	if err := addDestination(path, name, n.destination, n.asDefault); err != nil {
		return failure(control.CodeFailed, "Nothing was changed.", "the destination was not added: %v", err)
	}
	fmt.Fprintf(p.out, "added %s to %s\n", name, path)
	if err := p.keepSecret(ctx, path, u, secret); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "Next: controller destinations test %s\n", name)
	return nil
}

// newConfig says where the configuration stands, or will stand.
func (p *program) newConfig() (string, error) {
	s, err := p.session()
	if err != nil {
		return "", err
	}
	path, err := configPath(s, p.configFile)
	if err == nil {
		_, err = loadConfig(path)
	}
	return path, err
}

// keepSecret stores a secret, unless it is empty, and says where it is.
func (p *program) keepSecret(ctx context.Context, configFile string, u *url.URL, secret string) error {
	if secret == "" {
		return nil
	}
	where, err := secretsBeside(configFile).set(ctx, u, secret)
	if err == nil {
		fmt.Fprintf(p.out, "the password is kept in %s\n", where)
	}
	return err
}

func (p *program) destinationsPasswordCommand() *cobra.Command {
	var n newDestination
	c := command("password NAME", "Set or change the password of a destination", cobra.ExactArgs(1))
	c.Flags().BoolVar(&n.passwordStdin, "password-stdin", false, "read it from the first line of standard input")
	c.RunE = func(c *cobra.Command, args []string) error { return p.destinationsPassword(c.Context(), args[0], n) }
	return c
}

func (p *program) destinationsPassword(ctx context.Context, name string, n newDestination) error {
	path, c, err := p.config()
	if err != nil {
		return err
	}
	if name, err = c.resolve(name); err != nil {
		return err
	}
	if name == localName {
		return usage("the destination inside the controller has no password", "")
	}
	u, err := c.Destinations[name].parse()
	if err != nil {
		return err
	}
	secret, err := p.askPassword(u, n)
	if err == nil && secret == "" {
		err = usage("no password was given", "Type it on a terminal, or give --password-stdin.")
	}
	if err != nil {
		return err
	}
	return p.keepSecret(ctx, path, u, secret)
}

// askPassword reads a password without showing it. "" means that none is stored.
func (p *program) askPassword(u *url.URL, n newDestination) (string, error) {
	switch {
	case n.passwordStdin:
		line, err := bufio.NewReader(io.LimitReader(p.in, 64<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	case n.noPassword || n.KeyFile != "" || !onTerminal(p.in):
		return "", nil
	}
	what := "Password of " + u.User.Username() + " at " + u.Host
	if u.User == nil {
		what = "Token for " + u.Host + " (empty for none)"
	}
	fmt.Fprintf(p.err, "%s: ", what)
	secret, err := term.ReadPassword(int(p.in.Fd()))
	fmt.Fprintln(p.err)
	return string(secret), err
}

func (p *program) destinationsRemove(ctx context.Context, name string) error {
	path, c, err := p.config()
	if err != nil {
		return err
	}
	d, ok := c.Destinations[name]
	if !ok {
		_, err := c.resolve(name)
		if err == nil {
			err = usage("the destination inside the controller is always there", "")
		}
		return err
	}
	if err := removeDestination(path, name); err != nil {
		return failure(control.CodeFailed, "Nothing was changed.", "the destination was not removed: %v", err)
	}
	delete(c.Destinations, name)
	fmt.Fprintf(p.out, "removed %s from %s\n", name, path)
	return p.forgetSecret(ctx, secretsBeside(path), c, d)
}

// forgetSecret removes the password of d unless another destination uses it.
func (p *program) forgetSecret(ctx context.Context, s secrets, c config, d destination) error {
	u, err := d.parse()
	if err != nil {
		return err
	}
	for _, other := range c.Destinations {
		if o, err := other.parse(); err == nil && secretID(o) == secretID(u) {
			return nil
		}
	}
	return s.remove(ctx, u)
}
