package ipc

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// usableMemory is the limit of this process's cgroup, else the memory of the machine.
func usableMemory() int64 {
	var info unix.Sysinfo_t
	total := int64(1 << 30)
	if unix.Sysinfo(&info) == nil {
		total = int64(info.Totalram) * int64(info.Unit)
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
			total = min(total, n)
		}
	}
	return total
}
