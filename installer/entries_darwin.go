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

// label names the launch agent.
const label = "berth.controller"

// agentTemplate replaces the library's own. The agent starts in graphical
// sessions only and is restarted when it fails, not when it was told to quit.
const agentTemplate = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>{{Name | html}}</string>
	<key>ProgramArguments</key>
	<array>
		<string>{{Path | html}}</string>
		<string>run</string>
	</array>
	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<dict>
		<key>SuccessfulExit</key>
		<false/>
	</dict>
	<key>ThrottleInterval</key>
	<integer>30</integer>
	<key>LimitLoadToSessionType</key>
	<string>Aqua</string>
	<key>ProcessType</key>
	<string>Background</string>
</dict>
</plist>
`

// entries are what this installation consists of.
func entries(o Options) (wanted, unwanted []entry, err error) {
	if o.UserUnit {
		return nil, nil, errors.New("systemd user units are for Linux; install without one")
	}
	record, err := o.record()
	if err != nil {
		return nil, nil, err
	}
	if o.AllUsers {
		// kardianos/service knows daemons for the machine, but those run outside
		// all sessions; an agent for all users is a plain file.
		return []entry{file{path: o.under("/Library/LaunchAgents/" + label + ".plist"), content: agentPlist}, record}, nil, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, nil, fmt.Errorf("this user's launch agents: %w", err)
	}
	return []entry{agent{path: filepath.Join(home, "Library/LaunchAgents", label+".plist")}, record}, nil, nil
}

// agentPlist fills the template as the library does.
func agentPlist(executable string) string {
	html := strings.NewReplacer(`&`, "&amp;", `'`, "&#39;", `<`, "&lt;", `>`, "&gt;", `"`, "&#34;")
	return strings.NewReplacer("{{Name | html}}", label, "{{Path | html}}", html.Replace(executable)).Replace(agentTemplate)
}

// agent is this user's launch agent, written by kardianos/service.
type agent struct{ path string }

func (a agent) place() string { return a.path }

func (a agent) put(executable string) error {
	if _, right, err := a.check(executable); err != nil || right {
		return err
	}
	if err := a.drop(); err != nil {
		return err
	}
	s, err := service.New(nil, &service.Config{
		Name:       label,
		Executable: executable,
		Option:     service.KeyValue{"UserService": true, "LaunchdConfig": agentTemplate},
	})
	if err != nil {
		return err
	}
	if err := s.Install(); err != nil {
		return errors.Join(err, a.drop())
	}
	return nil
}

// drop removes the file. The library's own removal would also stop the
// controller that runs now.
func (a agent) drop() error {
	if err := os.Remove(a.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (a agent) check(executable string) (exists, right bool, err error) {
	return file{path: a.path, content: agentPlist}.check(executable)
}
