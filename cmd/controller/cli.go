package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"berth/session"
)

// program is one run of the command line.
type program struct {
	in          *os.File
	out, err    io.Writer
	sessionName string
	configFile  string
}

// execute runs the command line and answers its exit code.
func execute(args []string) int {
	p := &program{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := p.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		report(p.err, "controller", err)
	}
	return exitCode(err)
}

func (p *program) root() *cobra.Command {
	cobra.MousetrapHelpText = "" // the tray's user does start it from the Explorer
	var noTray bool
	root := command("controller", "Hand big files over to a transfer controller that runs in the background", cobra.NoArgs)
	root.Long = "The controller uploads packages of files in the background, one controller per user session.\n" +
		"Without a command it runs in the foreground, as `controller run` does."
	root.RunE = func(c *cobra.Command, _ []string) error { return p.run(c.Context(), noTray) }
	root.Flags().BoolVar(&noTray, "no-tray", false, "show no icon in the tray")
	root.PersistentFlags().StringVar(&p.sessionName, "session", "", "a session of its own within this user's, by name")
	root.PersistentFlags().StringVar(&p.configFile, "config", "", "configuration `file` (default: config.toml in the user's configuration directory)")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.AddCommand(
		p.runCommand(), p.statusCommand(), p.listCommand(), p.watchCommand(), p.addCommand(),
		p.verbCommand("pause", "Stop uploading jobs until they are resumed"),
		p.verbCommand("resume", "Go on with paused jobs, where the server stopped"),
		p.verbCommand("cancel", "Give jobs up and remove what they left on the server"),
		p.verbCommand("retry", "Try failed jobs again"),
		p.linksCommand(), p.openCommand(), p.destinationsCommand(),
		p.installCommand(), p.uninstallCommand(), p.doctorCommand(), p.quitCommand(), p.versionCommand(),
	)
	return root
}

// command makes a command whose mistakes in usage end with exit code 2.
func command(use, short string, args cobra.PositionalArgs) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, SilenceUsage: true, SilenceErrors: true}
	c.Args = func(c *cobra.Command, given []string) error { return usageOf(c, args(c, given)) }
	c.SetFlagErrorFunc(usageOf)
	return c
}

func usageOf(c *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	return usage(err.Error(), "See `"+c.CommandPath()+" --help`.")
}

func (p *program) runCommand() *cobra.Command {
	var noTray bool
	c := command("run", "Run the controller of this session in the foreground", cobra.NoArgs)
	c.RunE = func(c *cobra.Command, _ []string) error { return p.run(c.Context(), noTray) }
	c.Flags().BoolVar(&noTray, "no-tray", false, "show no icon in the tray")
	return c
}

// session answers which session the command is about.
func (p *program) session() (session.Session, error) {
	s, err := session.Named(p.sessionName)
	if err != nil {
		return s, withCode(exitUsage, err)
	}
	return s, nil
}

// config reads the configuration and says where it stands.
func (p *program) config() (path string, c config, err error) {
	s, err := p.session()
	if err != nil {
		return "", config{}, err
	}
	if path, err = configPath(s, p.configFile); err != nil {
		return "", config{}, err
	}
	if err := mustExist(p.configFile, path); err != nil {
		return "", config{}, err
	}
	c, err = loadConfig(path)
	return path, c, err
}

// onTerminal tells whether f is one, so that bars and questions make sense.
func onTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
