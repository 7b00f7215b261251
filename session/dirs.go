package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrUnsafe is wrapped by the error for a directory or object that cannot be
// trusted: somebody else owns it, or others can enter it. The error names the owner.
var ErrUnsafe = errors.New("not safe to use")

// RuntimeDir returns the directory of this session for locks, sockets and the
// port record, made and verified at each call: it belongs to this user alone (mode
// 0700) and, on Linux, lives in memory. It vanishes when the system ends the
// user's last login; see [Session.Watch].
func (s Session) RuntimeDir() (string, error) { return s.runtimeDir(s.makePrivate) }

// FindRuntimeDir is [Session.RuntimeDir] without making anything: it fails with
// fs.ErrNotExist when the directory is not there.
func (s Session) FindRuntimeDir() (string, error) { return s.runtimeDir(s.verifyPrivate) }

// runtimeDir visits the directories from the top: nothing is made or trusted inside
// one that is not ours.
func (s Session) runtimeDir(visit func(dir string) error) (string, error) {
	root, err := s.runtimeRoot(visit)
	if err != nil {
		return "", fmt.Errorf("runtime directory of %s: %w", s, err)
	}
	dir := filepath.Join(root, s.leaf())
	for _, d := range []string{root, dir} {
		if err := visit(d); err != nil {
			return "", fmt.Errorf("runtime directory of %s: %w", s, err)
		}
	}
	return dir, nil
}

// runtimeRoot tells which directory holds the runtime directories of all sessions
// of this user. Nobody else can exchange what is in there.
func (s Session) runtimeRoot(visit func(dir string) error) (string, error) {
	if s.runtime == "" && s.base != "" {
		return filepath.Join(s.base, "berth"), s.verifyPrivate(s.base)
	}
	if s.runtime == "" {
		return s.systemRoot(visit)
	}
	if !filepath.IsAbs(s.runtime) {
		return "", fmt.Errorf("BERTH_RUNTIME=%s: must be an absolute path", s.runtime)
	}
	return filepath.Join(s.runtime, "berth"), visit(s.runtime)
}

// MachineDir returns a directory in which every user may make files and nobody can
// remove another's, for what is one per machine. Whoever comes first owns a name
// there, so a file in it proves nothing; it can only be a lock.
func (s Session) MachineDir() (string, error) {
	if s.runtime != "" {
		return s.runtime, s.makePrivate(s.runtime)
	}
	return machineRoot()
}

// StateDir returns the directory that keeps this user's jobs, made and verified
// (mode 0700) at each call. It is the user's, not the session's: combine it with
// [Session.StoreKey].
func (s Session) StateDir() (string, error) {
	dir := os.Getenv("BERTH_STATE")
	if dir == "" {
		base, err := stateBase()
		if err != nil {
			return "", fmt.Errorf("state directory: %w", err)
		}
		dir = base
	}
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("state directory %s: BERTH_STATE must be an absolute path", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	if err := s.makePrivate(dir); err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	return dir, nil
}

// ConfigDir returns the directory of this user's configuration. It is not made.
func (s Session) ConfigDir() (string, error) {
	dir, err := configBase()
	if err != nil {
		return "", fmt.Errorf("configuration directory: %w", err)
	}
	return dir, nil
}
