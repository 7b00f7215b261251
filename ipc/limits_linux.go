package ipc

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// usableMemory is the least limit of this process's control groups, else the memory of
// the machine.
func usableMemory() int64 {
	var info unix.Sysinfo_t
	total := int64(1 << 30)
	if unix.Sysinfo(&info) == nil {
		total = int64(info.Totalram) * int64(info.Unit)
	}
	groups, _ := os.ReadFile("/proc/self/cgroup")
	return min(total, groupLimit("/sys/fs/cgroup", string(groups), total))
}

// groupLimit is the least memory limit on the way from each group in groups, the content
// of /proc/self/cgroup, up to the root of its hierarchy; none when there is no limit.
func groupLimit(mount, groups string, none int64) int64 {
	least := none
	for line := range strings.Lines(groups + "\n0::/\n0:memory:/\n") { // where that can't be read: the root
		field := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(field) < 3 {
			continue
		}
		root, file := mount, "memory.max"
		if field[1] == "memory" { // version 1
			root, file = filepath.Join(mount, "memory"), "memory.limit_in_bytes"
		} else if field[1] != "" {
			continue
		}
		for dir := filepath.Clean("/" + field[2]); ; dir = filepath.Dir(dir) {
			least = min(least, limitIn(filepath.Join(root, dir, file), none))
			if dir == "/" {
				break
			}
		}
	}
	return least
}

// limitIn reads a limit; "max" and a file that isn't there are none.
func limitIn(path string, none int64) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return none
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n <= 0 {
		return none
	}
	return n
}
