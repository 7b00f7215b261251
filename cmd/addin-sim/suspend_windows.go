package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

func suspend(p *os.Process) error { return debug(p, "NtSuspendProcess") }
func resume(p *os.Process) error  { return debug(p, "NtResumeProcess") }

// debug calls one of the two functions that debuggers use; there is no other
// way to stop a whole process.
func debug(p *os.Process, function string) error {
	h, err := windows.OpenProcess(windows.PROCESS_SUSPEND_RESUME, false, uint32(p.Pid))
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.Pid, err)
	}
	defer windows.CloseHandle(h)
	status, _, _ := windows.NewLazySystemDLL("ntdll.dll").NewProc(function).Call(uintptr(h))
	if status != 0 {
		return fmt.Errorf("%s of process %d: %w", function, p.Pid, windows.NTStatus(status))
	}
	return nil
}
