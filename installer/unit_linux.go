package installer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kardianos/service"
)

// unitTemplate replaces the library's own, which wants multi-user.target (user
// managers have none, so it would never start) and waits two minutes before a
// restart. The exit codes are the controller's: 2 wrong usage, 3 another one
// runs already, 5 refused; trying again helps none of them.
const unitTemplate = `[Unit]
Description={{Description}}

[Service]
ExecStart={{range Arguments}}{{.}} {{end}}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2 3 5
TimeoutStopSec=10

[Install]
WantedBy=graphical-session.target default.target
`

const unitName = "berth.service"

// unit is the systemd user unit; kardianos/service writes and enables it.
type unit struct {
	dir string // where the library puts user units
}

func newUnit() (unit, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return unit{}, fmt.Errorf("this user's units: %w", err)
	}
	return unit{dir: filepath.Join(home, ".config/systemd/user")}, nil
}

func (u unit) place() string { return filepath.Join(u.dir, unitName) }

// links are what enabling the unit makes.
func (u unit) links() (out []string) {
	for _, target := range []string{"default.target", "graphical-session.target"} {
		out = append(out, filepath.Join(u.dir, target+".wants", unitName))
	}
	return out
}

func (u unit) put(executable string) error {
	if _, right, err := u.check(executable); err != nil || right {
		return err
	}
	if strings.ContainsAny(executable, "\"'\\$") {
		return fmt.Errorf("systemd starts no program with quotes, backslashes or dollar signs in its path: %s. Move it, or install without the unit", executable)
	}
	if err := u.drop(); err != nil {
		return err
	}
	s, err := newSystemd(u.config(executable))
	if err != nil {
		return err
	}
	if err := s.Install(); err != nil {
		return errors.Join(fmt.Errorf("systemd did not enable the unit: %w. See whether this login has a user manager (systemctl --user status), or install without the unit", err), u.drop())
	}
	return nil
}

// newSystemd asks the library for systemd by name: it would take whatever
// runs the machine, which in an image or a container is something else.
func newSystemd(c *service.Config) (service.Service, error) {
	for _, s := range service.AvailableSystems() {
		if s.String() == "linux-systemd" {
			return s.New(nil, c)
		}
	}
	return nil, errors.New("kardianos/service has no linux-systemd")
}

func (u unit) config(executable string) *service.Config {
	return &service.Config{
		Name:        strings.TrimSuffix(unitName, ".service"),
		Description: "Berth transfer controller",
		Executable:  executable,
		Arguments:   []string{unitQuote(executable), "run"},
		Option:      service.KeyValue{"UserService": true, "SystemdScript": unitTemplate},
	}
}

// drop removes what Install and systemctl made. The library's own removal
// fails without a running user manager and then leaves everything behind; a
// manager that runs notices by itself at the next login.
func (u unit) drop() error {
	for _, path := range append(u.links(), u.place()) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_ = os.Remove(filepath.Dir(path)) // refused unless it is empty
	}
	_ = os.Remove(filepath.Dir(u.dir))
	return nil
}

func (u unit) check(executable string) (exists, right bool, err error) {
	text, err := os.ReadFile(u.place())
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	right = strings.Contains(string(text), "\nExecStart="+unitQuote(executable)+" run \n")
	for _, link := range u.links() {
		_, err := os.Lstat(link)
		right = right && err == nil
	}
	return true, right, nil
}

// unitQuote quotes the program of an ExecStart line, whose path put has checked.
func unitQuote(path string) string { return `"` + strings.ReplaceAll(path, "%", "%%") + `"` }
