package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"berth/control"
	"berth/session"
)

// app is the name under which the controller of a session is found.
const app = "berth"

func main() { os.Exit(execute(os.Args[1:])) }

// simulator is one run of the command line.
type simulator struct {
	out, err    io.Writer
	sessionName string
}

// execute runs the command line and answers its exit code; the codes are those
// of the controller.
func execute(args []string) int {
	s := &simulator{out: os.Stdout, err: os.Stderr}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := s.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(s.err, "addin-sim:", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	return exitCodeOf(err)
}

func exitCodeOf(err error) int {
	if refused(err) {
		return 5
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return control.AsError(err).Code.Exit()
}

// interrupted says what a signal has cut short; nil when none has.
func interrupted(ctx context.Context, what string) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("%s was interrupted: %w", what, context.Cause(ctx))
}

// exitError carries the exit code beside the error it is for.
type exitError struct {
	code int
	error
}

func (e *exitError) Unwrap() error { return e.error }

func (s *simulator) root() *cobra.Command {
	root := command("addin-sim", "A companion of the transfer controller, without an application around it", cobra.NoArgs)
	root.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.AddCommand(s.portCommand(), s.sendCommand(), s.switchCommand(), s.memberCommand(), s.benchCommand(), s.senderCommand(), s.floodCommand(), s.swarmCommand(), s.schoolCommand(), s.hostileCommand())
	return root
}

// child makes a command that another process of this program runs. It ends with its standard
// input: a signal that the whole group gets is for the one who started it to tell of.
func child(use, short string, run func(context.Context) error) *cobra.Command {
	c := command(use, short, cobra.NoArgs)
	c.Hidden = true
	c.RunE = func(c *cobra.Command, _ []string) error { return run(context.WithoutCancel(c.Context())) }
	return c
}

// command makes a command whose mistakes in usage end with exit code 2.
func command(use, short string, args cobra.PositionalArgs) *cobra.Command {
	wrong := func(c *cobra.Command, err error) error {
		if err == nil {
			return nil
		}
		return &exitError{2, fmt.Errorf("%w\nSee `%s --help`.", err, c.CommandPath())}
	}
	c := &cobra.Command{Use: use, Short: short, SilenceUsage: true, SilenceErrors: true}
	c.Args = func(c *cobra.Command, given []string) error { return wrong(c, args(c, given)) }
	c.SetFlagErrorFunc(wrong)
	return c
}

// sessionFlag is for the commands that take part in a session; the others make their own.
func (s *simulator) sessionFlag(c *cobra.Command) {
	c.Flags().StringVar(&s.sessionName, "session", "", "a session of its own within this user's, by name")
}

func (s *simulator) session() (session.Session, error) {
	sess, err := session.Named(s.sessionName)
	if err != nil {
		return sess, &exitError{2, err}
	}
	return sess, nil
}
