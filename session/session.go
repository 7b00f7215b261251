package session

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// ErrName is wrapped by the error for a session name that cannot be used.
var ErrName = errors.New("invalid session name")

// defaultName names the session that has no extra key.
const defaultName = "default"

// Session identifies one session of one user. It is a comparable value without
// resources: copy it freely, use it from any goroutine.
type Session struct {
	user    string // uid or SID
	login   string // Windows session number, macOS audit session; "" on Linux
	name    string // extra key, "" for the default session
	runtime string // BERTH_RUNTIME, "" for the system's directory
	base    string // macOS: the system's temporary directory of this user; "" elsewhere
}

// Current returns the session of this process. BERTH_SESSION is respected.
func Current() (Session, error) {
	return identify(os.Getenv("BERTH_SESSION"))
}

// Named returns the session of this process with the extra key name: 1 to 32 of
// a-z, 0-9, '.', '_' and '-', without a dot or dash in front or a dot at the end.
// Upper case is folded, because file names are on two of the three systems. An
// empty name is the same as [Current]; "default" is the session without a key. An
// unusable name is an error that wraps [ErrName].
func Named(name string) (Session, error) {
	if name == "" {
		return Current()
	}
	return identify(name)
}

func identify(name string) (Session, error) {
	name, err := cleanName(name)
	if err != nil {
		return Session{}, err
	}
	s, err := identity()
	if err != nil {
		return Session{}, fmt.Errorf("cannot tell which session this process belongs to: %w", err)
	}
	s.name, s.runtime = name, os.Getenv("BERTH_RUNTIME")
	return s, nil
}

func cleanName(name string) (string, error) {
	folded := strings.ToLower(name)
	if folded == "" || folded == defaultName {
		return "", nil
	}
	if !validName(folded) || deviceName(folded) {
		return "", fmt.Errorf("%w %q: use 1 to 32 of a-z, 0-9, '.', '_' and '-', not starting with '.' or '-' and not ending in '.'", ErrName, name)
	}
	return folded, nil
}

// CheckApp fails with [ErrName] unless app can be part of file and object names.
// The rule is that of session names, in lower case.
func CheckApp(app string) error {
	if !validName(app) || app == "" || deviceName(app) {
		return fmt.Errorf("%w: application %q: use 1 to 32 of a-z, 0-9, '.', '_' and '-', not starting with '.' or '-'", ErrName, app)
	}
	return nil
}

func validName(s string) bool {
	if len(s) > 32 || strings.HasPrefix(s, ".") || strings.HasPrefix(s, "-") || strings.HasSuffix(s, ".") {
		return false
	}
	for _, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("._-", rune(c)) {
			return false
		}
	}
	return true
}

// deviceName reports whether Windows would take s for a device instead of a file
// or directory. It is refused everywhere so that a name means the same everywhere.
func deviceName(s string) bool {
	stem, _, _ := strings.Cut(s, ".")
	switch stem {
	case "con", "prn", "aux", "nul":
		return true
	}
	port := strings.HasPrefix(stem, "com") || strings.HasPrefix(stem, "lpt")
	return port && len(stem) == 4 && '0' <= stem[3] && stem[3] <= '9'
}

// Name returns the extra key, "" for the default session.
func (s Session) Name() string { return s.name }

// User returns the user: the numeric id, on Windows the SID.
func (s Session) User() string { return s.user }

// StoreKey returns the name, "default" for the default session. It tells which
// stores a controller of this session adopts, and does not change at the next login.
func (s Session) StoreKey() string {
	if s.name == "" {
		return defaultName
	}
	return s.name
}

// Key returns the identity of this session in a form that is safe in file names:
// "1000", "1000-work", "S-1-5-21-1-2-3-1001-2-work".
func (s Session) Key() string {
	return join(s.user, s.login, s.name)
}

// String describes the session for people: "uid 1000", "uid 1000, session work".
func (s Session) String() string {
	text := describe(s.user, s.login)
	if s.name != "" {
		text += ", session " + s.name
	}
	return text
}

// leaf is the session's directory below the user's runtime root.
func (s Session) leaf() string {
	return join(s.login, s.StoreKey())
}

func join(parts ...string) string {
	var present []string
	for _, p := range parts {
		if p != "" {
			present = append(present, p)
		}
	}
	return strings.Join(present, "-")
}
