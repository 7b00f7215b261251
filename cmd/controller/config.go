package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"berth/control"
	"berth/session"
)

// localName is the destination that needs no configuration: the server inside
// the controller.
const localName = "local"

// config is the file config.toml. The zero value is a working configuration.
type config struct {
	Default      string                 `toml:"default"`
	Limits       limits                 `toml:"limits"`
	Destinations map[string]destination `toml:"destinations"`
}

// limits bound what the queue takes of the machine; zero means the default.
type limits struct {
	Concurrency    int   `toml:"concurrency"`      // uploads at once
	BytesPerSecond int64 `toml:"bytes_per_second"` // of all uploads together; 0 = no limit
}

// destination is a server and how files are laid out on it. It never holds a
// secret: those are kept by [secrets].
type destination struct {
	URL       string `toml:"url"`
	Path      string `toml:"path,omitempty"`      // under the URL's directory; "" = {id}/{name}
	Link      string `toml:"link,omitempty"`      // template of the public link, with {id} and {name}
	Overwrite bool   `toml:"overwrite,omitempty"` // replace a file of the same name (ftp, sftp)
	KeyFile   string `toml:"key_file,omitempty"`  // sftp: private key for signing in
}

// namePattern is what a destination may be called: it stands in file names,
// commands and TOML headers without quotes.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// schemes are the protocols of destinations. A plain https URL is not among
// them: what answers there could speak several protocols.
var schemes = []string{"ftp", "sftp", "tus+http", "tus+https"}

// configPath answers where the configuration of s is read from.
func configPath(s session.Session, given string) (string, error) {
	if given == "" {
		given = os.Getenv("BERTH_CONFIG")
	}
	if given != "" {
		return filepath.Abs(given)
	}
	dir, err := s.ConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "config.toml"), nil
}

// mustExist fails when path was named, on the command line or in BERTH_CONFIG, and
// is not there: a misspelt name must not be silently without effect.
func mustExist(given, path string) error {
	where := "after --config"
	if given == "" {
		given, where = os.Getenv("BERTH_CONFIG"), "in BERTH_CONFIG"
	}
	if given == "" {
		return nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return failure(control.CodeFailed, "Check the name "+where+"; `controller destinations add` makes the file.",
			"the configuration %s does not exist", path)
	}
	return nil
}

// loadConfig reads path. A file that does not exist is an empty configuration.
func loadConfig(path string) (config, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, nil
	}
	if err != nil {
		return config{}, failure(control.CodeFailed, "Make the file readable, or name another one with --config.",
			"the configuration cannot be read: %v", err)
	}
	c, err := parseConfig(string(text))
	if err != nil {
		return config{}, failure(control.CodeFailed, "Mend the file and try again; nothing was changed.",
			"the configuration %s is not valid: %v", path, err)
	}
	return c, nil
}

func parseConfig(text string) (config, error) {
	var c config
	meta, err := toml.Decode(text, &c)
	if err != nil {
		return config{}, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return config{}, fmt.Errorf("there is no setting %q", unknown[0].String())
	}
	return c, c.check()
}

func (c config) check() error {
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		if err := checkName(name); err != nil {
			return err
		}
		if _, err := c.Destinations[name].parse(); err != nil {
			return fmt.Errorf("destination %q: %w", name, err)
		}
	}
	if c.Default != "" && !c.has(c.Default) {
		return fmt.Errorf("the default destination %q is not among the destinations", c.Default)
	}
	if c.Limits.Concurrency < 0 || c.Limits.BytesPerSecond < 0 {
		return errors.New("a limit below zero")
	}
	return nil
}

func checkName(name string) error {
	if name == localName {
		return fmt.Errorf("the name %q is taken by the server inside the controller", localName)
	}
	if !namePattern.MatchString(name) {
		return fmt.Errorf("a destination cannot be called %q: letters, digits, '-' and '_', at most 64, no dash first", name)
	}
	return nil
}

// has tells whether packages can be sent to name.
func (c config) has(name string) bool {
	_, ok := c.Destinations[name]
	return ok || name == localName
}

// resolve answers the destination that a request for name means.
func (c config) resolve(name string) (string, error) {
	if name == "" {
		name = c.defaultName()
	}
	if !c.has(name) {
		return "", failure(control.CodeNotFound,
			"See `controller destinations list`, or add it with `controller destinations add "+name+" URL`.",
			"there is no destination %q", name)
	}
	return name, nil
}

func (c config) defaultName() string {
	if c.Default == "" {
		return localName
	}
	return c.Default
}

// list answers all destinations, the local one first, the others by name.
func (c config) list(localURL string) []control.Destination {
	all := []control.Destination{{Name: localName, URL: localURL, Default: c.defaultName() == localName}}
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		all = append(all, control.Destination{
			Name: name, URL: c.Destinations[name].URL, Default: c.defaultName() == name,
		})
	}
	return all
}

// parse checks the URL. Its user and port are kept; a password in it is refused,
// because the file, the process list and the shell's history would show it.
func (d destination) parse() (*url.URL, error) {
	u, err := url.Parse(d.URL)
	if err != nil {
		return nil, errors.New("its URL cannot be read") // url.Error would quote a password
	}
	if _, has := u.User.Password(); has {
		return nil, errors.New("a password does not belong in the URL: leave it out, `controller destinations add` asks for it")
	}
	if !slices.Contains(schemes, u.Scheme) {
		return nil, fmt.Errorf("the protocol %q is not known: use one of %s", u.Scheme, strings.Join(schemes, "://, ")+"://")
	}
	if u.Hostname() == "" {
		return nil, errors.New("its URL names no host")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("its URL may have neither a query nor a fragment")
	}
	return u, nil
}

// address is host:port of u.
func address(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// directory is where u points to, "" for the login directory. As in the URLs of
// other programs, the path of FTP begins at the login directory and a second
// slash makes it absolute; that of SFTP is absolute and /~/ makes it relative.
func directory(u *url.URL) string {
	if u.Scheme == "ftp" {
		return strings.TrimPrefix(u.Path, "/")
	}
	if home, ok := strings.CutPrefix(u.Path+"/", "/~/"); ok {
		return strings.TrimSuffix(home, "/")
	}
	if u.Path == "/" {
		return ""
	}
	return u.Path
}
