package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/control"
	"berth/installer"
	"berth/portshare"
	"berth/session"
	"berth/transfer"
	"berth/tray"
)

// probeTime bounds the test of one destination.
const probeTime = 10 * time.Second

// finding is one thing that the doctor has looked at.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"` // ok, note or problem
	Found string `json:"found"`
	Next  string `json:"next"` // what to do about it; "" when nothing
}

func (p *program) doctorCommand() *cobra.Command {
	var asJSON bool
	c := command("doctor", "Look at everything the controller depends on, and say what to do about it", cobra.NoArgs)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per finding")
	c.RunE = func(c *cobra.Command, _ []string) error { return p.doctor(c.Context(), asJSON) }
	return c
}

func (p *program) doctor(ctx context.Context, asJSON bool) error {
	s, err := p.session()
	if err != nil {
		return err
	}
	d := &doctor{program: p, session: s}
	d.examine(ctx)
	problems := 0
	for _, f := range d.findings {
		if f.State == "problem" {
			problems++
		}
		if asJSON {
			if err := printJSON(p.out, f); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(p.out, "%-8s %-12s %s\n", f.State, f.Check, f.Found)
		if f.Next != "" {
			fmt.Fprintf(p.out, "%-8s %-12s next: %s\n", "", "", f.Next)
		}
	}
	if problems > 0 {
		return failure(control.CodeFailed, "", "problems found: %d", problems)
	}
	return nil
}

// doctor only looks: it joins nothing, starts nothing and repairs nothing.
type doctor struct {
	program  *program
	session  session.Session
	findings []finding
}

func (d *doctor) ok(check, format string, args ...any) {
	d.findings = append(d.findings, finding{check, "ok", fmt.Sprintf(format, args...), ""})
}

func (d *doctor) note(check, next, format string, args ...any) {
	d.findings = append(d.findings, finding{check, "note", fmt.Sprintf(format, args...), next})
}

// problem notes err; the lines of its text after the first are the next step.
func (d *doctor) problem(check, next string, err error) {
	if e, ok := errors.AsType[*control.Error](err); ok {
		err, next = errors.New(e.Message), e.Next
	}
	d.findings = append(d.findings, finding{check, "problem", err.Error(), next})
}

func (d *doctor) examine(ctx context.Context) {
	d.ok("version", "%s", version)
	d.ok("session", "%s (%s)", d.session, d.session.Key())
	d.directories(ctx)
	d.installed()
	info, listening := d.record()
	if listening {
		d.controller(ctx, info)
	}
	d.icon(ctx)
	d.destinations(ctx)
}

// icon tells why there is no tray icon. Uploads don't depend on it.
func (d *doctor) icon(ctx context.Context) {
	if err := tray.Available(ctx); err != nil {
		d.note("tray", "Use `controller open` or `controller watch`; uploads don't depend on the icon.", "%v", err)
		return
	}
	d.ok("tray", "this desktop shows tray icons")
}

func (d *doctor) directories(ctx context.Context) {
	if d.session.Elevated() {
		d.note("session", "Start the controller and its companions alike: both elevated, or neither.",
			"this process has administrator's rights, which others of the session may not have")
	}
	if dir, err := d.session.RuntimeDir(); err != nil {
		d.problem("runtime", "Ask the owner to remove it, or log in anew.", err)
	} else {
		d.ok("runtime", "%s, for this user alone", dir)
	}
	dir, err := d.session.StateDir()
	if err != nil {
		d.problem("state", "Make the directory writable for this user alone, or name another one in BERTH_STATE.", err)
		return
	}
	d.ok("state", "%s, store %q", dir, d.session.StoreKey())
	d.stores(ctx, dir)
	if _, err := os.Stat(logPath(dir, d.session)); err == nil {
		d.ok("log", "%s", logPath(dir, d.session))
	}
}

// stores looks for jobs that no controller has at present, and whether they can be
// read: a damaged store keeps the next controller from starting.
func (d *doctor) stores(ctx context.Context, dir string) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	switch n, err := transfer.Examine(ctx, dir, d.session.StoreKey()); {
	case err != nil:
		d.problem("store", "", err)
	case n > 0:
		d.ok("store", "%d at rest, whole; the next controller goes on with its jobs", n)
	}
}

// installed tells whether sessions start the controller by themselves.
func (d *doctor) installed() {
	for _, all := range []bool{false, true} {
		who := "this user"
		if all {
			who = "all users"
		}
		st, err := installer.Status(installer.Options{AllUsers: all})
		switch {
		case err != nil:
			d.problem("install", "Run `controller install` again.", err)
		case len(st.Problems) > 0:
			d.note("install", "Run `controller install` again, or `controller uninstall`.", "for %s: %s", who, strings.Join(st.Problems, " "))
		case st.Installed():
			d.ok("install", "sessions of %s start %s", who, st.Executable)
		}
	}
}

// record looks at the port record without touching it.
func (d *doctor) record() (info portshare.Info, listening bool) {
	info, err := portshare.Peek(d.session, app)
	switch {
	case errors.Is(err, portshare.ErrNoRecord):
		d.note("record", "Start a controller with `controller run`, or let `controller add FILE` do it.",
			"nobody takes part in this session: no port is known")
		return info, false
	case err != nil:
		d.problem("record", "End all companions and controllers of this session, then start again.", err)
		return info, false
	}
	d.ok("record", "%s", info)
	if info.State != portshare.Listening {
		d.note("controller", "Start one with `controller run`, or let `controller add FILE` do it.",
			"none runs; port %d is %s", info.Port, info.State)
		return info, false
	}
	return info, true
}

// controller talks to the one that the record names.
func (d *doctor) controller(ctx context.Context, info portshare.Info) {
	client := &control.Client{Resolve: func(context.Context) (control.Target, error) { return peek(d.session) }}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	st, err := client.Status(ctx)
	if err != nil {
		d.problem("controller", fmt.Sprintf("End process %d and start a controller with `controller run`.", info.PID),
			fmt.Errorf("pid %d should listen on port %d but does not answer: %w", info.PID, info.Port, err))
		return
	}
	d.ok("controller", "pid %d, version %s, running for %s, answers on 127.0.0.1:%d", st.PID, st.Version, duration(st.Uptime), st.Port)
	if st.Version != version {
		d.note("controller", "Restart it with `controller quit` and `controller run`.",
			"it runs version %s, this program is %s", st.Version, version)
	}
	for _, c := range st.Companions {
		d.ok("companion", "%s", companionLine(c))
	}
	d.engine(st)
	if n := st.Jobs["failed"]; n > 0 {
		d.note("jobs", "See `controller list`, mend the causes, then run `controller retry --all`.", "%d failed", n)
	}
}

func (d *doctor) destinations(ctx context.Context) {
	path, c, err := d.program.config()
	if err != nil {
		d.problem("config", "Mend the file.", err)
		return
	}
	d.ok("config", "%s, default destination %q", path, c.defaultName())
	keep := secretsBeside(path)
	if hasKeyring() {
		d.ok("passwords", "kept in %s", inKeyring)
	} else {
		d.note("passwords", "Start a keyring (gnome-keyring, KWallet) to have them encrypted.",
			"this system has no keyring: they are kept in %s, for this user alone", keep.file)
	}
	for _, t := range c.list("")[1:] {
		d.destination(ctx, t.Name, c.Destinations[t.Name], keep, path)
	}
}

func (d *doctor) destination(ctx context.Context, name string, t destination, keep secrets, configFile string) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	b, err := newBackend(t, keep, hostKeysBeside(configFile))
	if err == nil {
		err = probe(ctx, b)
	}
	if err != nil {
		d.problem("destination", "Try `controller destinations test "+name+"`.", fmt.Errorf("%s (%s): %w", name, t.URL, err))
		return
	}
	d.ok("destination", "%s (%s) lets you in", name, t.URL)
}
