package session

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// identity is the effective user: the one whom files and sockets are made as.
func identity() (Session, error) {
	return Session{user: strconv.Itoa(os.Geteuid())}, nil
}

func describe(user, _ string) string { return "uid " + user }

// Elevated reports whether this process has more rights than the user who started
// it: on Linux, a set-user-id program.
func (Session) Elevated() bool { return os.Geteuid() != os.Getuid() }

// systemRoot tells where the runtime directories of this user belong, and verifies
// the directory around them. XDG_RUNTIME_DIR is not asked: cron jobs, sudo and
// services lack it, and two processes of one user must come to the same answer.
func (s Session) systemRoot(func(string) error) (string, error) {
	user := filepath.Join("/run/user", s.user)
	if inMemory(user) {
		return filepath.Join(user, "berth"), s.verifyPrivate(user)
	}
	if s.user == "0" && inMemory("/run") {
		return "/run/berth", verifyShared("/run")
	}
	return filepath.Join("/dev/shm", "berth-"+s.user), verifyShared("/dev/shm")
}

// machineRoot is a directory of the system in which every user may make files.
func machineRoot() (string, error) {
	if info, err := os.Lstat("/run/lock"); err == nil && info.Mode().Perm()&0o002 != 0 && inMemory("/run/lock") {
		return "/run/lock", verifyShared("/run/lock")
	}
	return "/dev/shm", verifyShared("/dev/shm")
}

// inMemory reports whether path is on a file system that no restart survives. A
// /run/user/UID on disk is what the login manager leaves before it mounts the
// real one, or what a container image brought along: not a runtime directory.
func inMemory(path string) bool {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return false
	}
	return st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC
}

func stateBase() (string, error) { return inHome("XDG_STATE_HOME", ".local/state/berth") }

func configBase() (string, error) { return inHome("XDG_CONFIG_HOME", ".config/berth") }

func machineConfig() (string, error) { return "/etc/berth", nil }

// inHome returns variable's directory when it is set to an absolute path (as the
// XDG specification asks), else the fallback below the home directory.
func inHome(variable, fallback string) (string, error) {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "berth"), nil
	}
	dir, err := home()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, fallback), nil
}
