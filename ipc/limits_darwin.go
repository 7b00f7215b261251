package ipc

import "golang.org/x/sys/unix"

// usableMemory is the memory of the machine.
func usableMemory() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 1 << 30
	}
	return int64(n)
}
