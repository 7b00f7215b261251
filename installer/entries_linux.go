package installer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// entries are what this installation consists of, and what other installations
// of the same user would.
func entries(o Options) (wanted, unwanted []entry, err error) {
	record, err := o.record()
	if err != nil {
		return nil, nil, err
	}
	if o.AllUsers {
		if o.UserUnit {
			return nil, nil, errors.New("a systemd user unit is installed for one user; for all users there is the autostart entry")
		}
		return []entry{autostart(o.under("/etc/xdg/autostart"), false), record}, nil, nil
	}
	config, err := configHome()
	if err != nil {
		return nil, nil, err
	}
	start := autostart(filepath.Join(config, "autostart"), true)
	u, err := newUnit()
	if err != nil {
		return nil, nil, err
	}
	if o.UserUnit {
		return []entry{u, record}, []entry{start}, nil
	}
	return []entry{start, record}, []entry{u}, nil
}

func configHome() (string, error) {
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("this user's configuration: %w", err)
	}
	return filepath.Join(home, ".config"), nil
}

func autostart(dir string, dropDir bool) file {
	return file{path: filepath.Join(dir, "berth.desktop"), content: desktopEntry, dropDir: dropDir, refuse: "%="}
}

// desktopEntry is the autostart entry. TryExec makes desktops skip it when the
// controller is gone. The path may not have an equal sign by the specification,
// nor a percent sign in practice: GLib looks for the program under the name in
// which it is doubled.
func desktopEntry(executable string) string {
	return `[Desktop Entry]
Type=Application
Version=1.0
Name=Berth
Comment=Uploads in the background
Exec=` + execQuote(executable) + ` run
TryExec=` + stringEscape(executable) + `
Terminal=false
NoDisplay=true
StartupNotify=false
X-GNOME-Autostart-enabled=true
`
}

// execQuote quotes the program of an Exec line: first by the rule for quoted
// arguments, then by the rule for strings. A literal backslash becomes four.
func execQuote(arg string) string {
	r := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", `$`, `\$`)
	return stringEscape(`"` + r.Replace(arg) + `"`)
}

func stringEscape(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }
