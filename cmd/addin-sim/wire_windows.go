package main

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// pipeWire is a control stream over a named pipe. Handles come as numbers behind
// the body.
type pipeWire struct{ *os.File }

func openWire(endpoint string) (wireConn, error) {
	name, err := windows.UTF16PtrFromString(endpoint)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(wirePatience); ; time.Sleep(5 * time.Millisecond) {
		h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
			windows.FILE_FLAG_OVERLAPPED|windows.SECURITY_SQOS_PRESENT|windows.SECURITY_IDENTIFICATION, 0)
		if err == nil {
			return pipeWire{os.NewFile(uintptr(h), endpoint)}, nil
		}
		if !errors.Is(err, windows.ERROR_PIPE_BUSY) || time.Now().After(end) {
			return nil, &os.PathError{Op: "open", Path: endpoint, Err: err}
		}
	}
}

func (p pipeWire) readFrame() (kind uint8, body []byte, handles []uintptr, err error) {
	kind, count, body, err := readWireHead(p.File)
	if err != nil || len(body) < 8*count {
		return kind, body, nil, err
	}
	rest := body[len(body)-8*count:]
	for i := range count {
		handles = append(handles, uintptr(le.Uint64(rest[8*i:])))
	}
	return kind, body[:len(body)-8*count], handles, nil
}

func closeWireHandles(handles []uintptr) {
	for _, h := range handles {
		_ = windows.CloseHandle(windows.Handle(h))
	}
}

func mapWire(handle uintptr, size int, writable bool) ([]byte, error) {
	access := uint32(windows.FILE_MAP_READ)
	if writable {
		access |= windows.FILE_MAP_WRITE
	}
	view, err := windows.MapViewOfFile(windows.Handle(handle), access, 0, 0, uintptr(size))
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of the engine: %w", size, err)
	}
	// SAFETY: the system mapped size bytes at view, and keeps them until unmapWire. The
	// conversion goes through a pointer to view because vet cannot know that the address is
	// not the garbage collector's.
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&view)), size), nil
}

func unmapWire(b []byte) {
	// SAFETY: b was mapped by mapWire and is used no more.
	_ = windows.UnmapViewOfFile(uintptr(unsafe.Pointer(&b[0])))
}
