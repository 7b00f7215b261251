package main

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// leaveOwnConsole closes the window that Windows opens for a console program
// that is started at logon. A terminal that somebody typed into stays: then this
// process is not alone on the console.
func leaveOwnConsole() {
	kernel32 := windows.NewLazySystemDLL("kernel32.dll")
	var pids [2]uint32
	// SAFETY: pids outlives the call, which writes at most len(pids) of them.
	n, _, _ := kernel32.NewProc("GetConsoleProcessList").Call(uintptr(unsafe.Pointer(&pids[0])), uintptr(len(pids)))
	if n == 1 {
		_, _, _ = kernel32.NewProc("FreeConsole").Call()
	}
}
