package main

import (
	"strings"

	"golang.org/x/sys/windows"
)

// runs tells whether process pid runs program. One that has ended exists as long
// as somebody holds a handle to it, and its number is given to others soon.
func runs(pid int, program string) bool {
	h, err := windows.OpenProcess(windows.SYNCHRONIZE|windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return false
	}
	defer func() { _ = windows.CloseHandle(h) }()
	state, err := windows.WaitForSingleObject(h, 0)
	if err != nil || state != uint32(windows.WAIT_TIMEOUT) {
		return false
	}
	name := make([]uint16, windows.MAX_LONG_PATH)
	size := uint32(len(name))
	err = windows.QueryFullProcessImageName(h, 0, &name[0], &size)
	return err == nil && strings.EqualFold(windows.UTF16ToString(name[:size]), program)
}
