package session

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// identity is the effective user: the one whom files and sockets are made as.
func identity() (user, login string, err error) {
	return strconv.Itoa(os.Geteuid()), "", nil
}

func describe(user, _ string) string { return "uid " + user }

// Elevated reports whether this process has more rights than the user who started
// it: on Linux, a set-user-id program.
func (Session) Elevated() bool { return os.Geteuid() != os.Getuid() }

// systemRuntime returns the root below the system's runtime directory of the user.
// XDG_RUNTIME_DIR is not asked: cron jobs, sudo and services lack it, and two
// processes of one user must come to the same answer.
func (s Session) systemRuntime() (string, error) {
	user := filepath.Join("/run/user", s.user)
	if inMemory(user) {
		if err := verifyPrivate(user); err != nil {
			return "", err
		}
		root := filepath.Join(user, "berth")
		return root, s.makePrivate(root)
	}
	root := filepath.Join("/dev/shm", "berth-"+s.user)
	if s.user == "0" && inMemory("/run") {
		root = "/run/berth"
	}
	if err := verifyShared(filepath.Dir(root)); err != nil {
		return "", err
	}
	return root, s.makePrivate(root)
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
