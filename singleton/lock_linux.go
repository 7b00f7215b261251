package singleton

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mode carries the sticky bit for the session's locks: the XDG specification
// exempts such files from the periodic cleaning of runtime directories.
func mode(o options) fs.FileMode {
	if o.machine {
		return 0o644
	}
	return 0o600 | os.ModeSticky
}

// heldBy names the process that has the file locked, for the error: " (pid 42)". It
// is empty when that cannot be told, as for a process of another id namespace.
func heldBy(path string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return ""
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return ""
	}
	return lockOwner(locks, fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino))
}

// lockOwner finds the owner of an exclusive flock in the text of /proc/locks, whose
// lines read "1: FLOCK  ADVISORY  WRITE 42 00:1a:2 0 EOF". Waiters have an arrow
// behind the number.
func lockOwner(locks []byte, file string) string {
	for line := range bytes.Lines(locks) {
		f := strings.Fields(string(line))
		if len(f) >= 6 && f[1] == "FLOCK" && f[3] == "WRITE" && f[5] == file && f[4] != "0" && f[4] != "-1" {
			return " (pid " + f[4] + ")"
		}
	}
	return ""
}
