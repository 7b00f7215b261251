package ipc

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	length, load                                                     uint32
	total, free, totalPage, freePage, totalVirtual, freeVirtual, ext uint64
}

// usableMemory is the memory of the machine.
func usableMemory() int64 {
	s := memoryStatus{}
	// SAFETY: only the size is taken.
	s.length = uint32(unsafe.Sizeof(s))
	call := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	// SAFETY: s has the size it states and outlives the call.
	if ok, _, _ := call.Call(uintptr(unsafe.Pointer(&s))); ok == 0 {
		return 1 << 30
	}
	return int64(s.total)
}
