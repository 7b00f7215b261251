package installer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"berth/session"
)

// ErrNotAllowed is wrapped by errors about rights that the caller lacks.
var ErrNotAllowed = errors.New("not allowed")

// Options say what to install. The zero value is for this user and the running
// executable.
type Options struct {
	// AllUsers installs for every user of the machine; that takes an
	// administrator.
	AllUsers bool

	// Executable is the absolute path of the controller; "" is the running
	// program. It is not copied: it must stay where it is. With AllUsers on
	// Unix nobody but an administrator may be able to replace it.
	Executable string

	// UserUnit installs a systemd user unit in place of the autostart entry, for
	// sessions without a desktop. Linux only, and not with AllUsers.
	UserUnit bool

	// Root is put before every path of an AllUsers installation, to stage it
	// into an image. Ignored on Windows.
	Root string
}

// State is what is installed for a user or for the machine.
type State struct {
	// Executable is the recorded path of the controller; "" when nothing is
	// recorded.
	Executable string
	// Places are the files and registry values that exist.
	Places []string
	// Problems say, in sentences, what keeps the installation from working.
	Problems []string
}

// Installed reports whether sessions will start the controller.
func (s State) Installed() bool { return len(s.Places) > 0 && len(s.Problems) == 0 }

// entry is one thing an installation consists of.
type entry interface {
	// place names it for people.
	place() string
	// put makes the entry start executable, replacing what was there. Putting
	// the same twice changes nothing.
	put(executable string) error
	// drop removes the entry; removing nothing is no error.
	drop() error
	// check answers whether the entry exists, and whether it starts executable.
	check(executable string) (exists, right bool, err error)
}

// Install makes sessions start the controller from the next login on. Doing it
// again repairs what is missing and changes nothing else.
func Install(o Options) error {
	exe, err := o.executable()
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	wanted, unwanted, err := entries(o)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	for _, e := range wanted { // the record last: what refuses the path leaves nothing
		if err := e.put(exe); err != nil {
			return fmt.Errorf("install: %s: %w", e.place(), explain(err, o))
		}
	}
	for _, e := range unwanted {
		if err := e.drop(); err != nil {
			return fmt.Errorf("install: %s: %w", e.place(), explain(err, o))
		}
	}
	return nil
}

// Uninstall takes back everything that [Install] does, whichever options it
// was given; only AllUsers and Root matter. It goes on after an error, so that
// as little as possible is left.
func Uninstall(o Options) error {
	wanted, unwanted, err := entries(o)
	if err != nil {
		return fmt.Errorf("uninstall: %w", err)
	}
	var errs []error
	for _, e := range append(unwanted, wanted...) {
		if err := e.drop(); err != nil {
			errs = append(errs, fmt.Errorf("uninstall: %s: %w", e.place(), explain(err, o)))
		}
	}
	return errors.Join(errs...)
}

// Status tells what is installed; only AllUsers and Root matter. Nothing
// installed is no error.
func Status(o Options) (State, error) {
	record, err := o.record()
	if err != nil {
		return State{}, fmt.Errorf("install status: %w", err)
	}
	wanted, unwanted, err := entries(o)
	if err != nil {
		return State{}, fmt.Errorf("install status: %w", err)
	}
	var s State
	text, err := os.ReadFile(record.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("install status: %w", err)
	}
	s.Executable = strings.TrimSpace(string(text))
	starts := 0
	for _, e := range append(wanted, unwanted...) {
		exists, right, err := e.check(s.Executable)
		if err != nil {
			return s, fmt.Errorf("install status: %s: %w", e.place(), err)
		}
		if !exists {
			continue
		}
		s.Places = append(s.Places, e.place())
		if e.place() != record.path {
			starts++
		}
		if !right {
			s.Problems = append(s.Problems, fmt.Sprintf("%s does not start %q. Run the installation again.", e.place(), s.Executable))
		}
	}
	s.Problems = append(s.Problems, s.missing(starts)...)
	return s, nil
}

func (s State) missing(starts int) (problems []string) {
	switch {
	case len(s.Places) == 0:
		return nil
	case s.Executable == "":
		return []string{"It is not recorded where the controller is. Run the installation again."}
	case starts == 0:
		problems = append(problems, "No session starts the controller. Run the installation again.")
	}
	if err := runnable(s.Executable); err != nil {
		problems = append(problems, fmt.Sprintf("The controller cannot be run: %v. Put it back, or install from where it is now.", err))
	}
	return problems
}

// executable is the checked path of the controller.
func (o Options) executable() (string, error) {
	exe := o.Executable
	if exe == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("where this program is: %w", err)
		}
		exe = self
	}
	if !filepath.IsAbs(exe) {
		return "", fmt.Errorf("the controller's path must be absolute, not %q", exe)
	}
	exe = filepath.Clean(exe)
	if strings.ContainsFunc(exe, unicode.IsControl) {
		return "", fmt.Errorf("the controller's path %q holds control characters; move it to a plain path", exe)
	}
	if err := runnable(exe); err != nil {
		return "", err
	}
	if o.AllUsers {
		if err := trusted(exe); err != nil {
			return "", err
		}
	}
	return exe, nil
}

// record is the file that tells other programs where the controller is.
func (o Options) record() (file, error) {
	path, err := session.ControllerFile(o.AllUsers)
	if err != nil {
		return file{}, err
	}
	return file{path: o.under(path), content: func(exe string) string { return exe + "\n" }, dropDir: true}, nil
}

// under puts the root of a staged installation before a path.
func (o Options) under(path string) string {
	if !o.AllUsers || o.Root == "" {
		return path
	}
	return filepath.Join(o.Root, path)
}

// explain adds the next step to an error about missing rights.
func explain(err error, o Options) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if o.AllUsers {
		return fmt.Errorf("%w: %w. Installing for all users takes an administrator", ErrNotAllowed, err)
	}
	return fmt.Errorf("%w: %w. Check who owns it", ErrNotAllowed, err)
}
