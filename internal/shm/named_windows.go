package shm

import (
	"errors"
	"fmt"
	"io/fs"
	"unsafe"

	"golang.org/x/sys/windows"

	"berth/session"
)

type named struct {
	section windows.Handle
	view    uintptr
}

func openNamed(s session.Session, name string, size int) (*Named, bool, error) {
	object := s.Object(name, "section")
	sa, err := s.SecurityAttributes()
	if err != nil {
		return nil, false, err
	}
	path, err := windows.UTF16PtrFromString(object)
	if err != nil {
		return nil, false, err
	}
	section, err := windows.CreateFileMapping(windows.InvalidHandle, sa, windows.PAGE_READWRITE, 0, uint32(size), path)
	existed := errors.Is(err, windows.ERROR_ALREADY_EXISTS)
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return nil, false, fmt.Errorf("%w: %s belongs to another user", session.ErrUnsafe, object)
	case err != nil && !existed:
		return nil, false, fmt.Errorf("section %s: %w", object, err)
	}
	if err := s.VerifyObject(section, object); err != nil {
		return nil, false, errors.Join(err, windows.CloseHandle(section))
	}
	n, err := mapSection(section, windows.FILE_MAP_READ|windows.FILE_MAP_WRITE)
	if err != nil {
		return nil, false, fmt.Errorf("section %s: %w", object, errors.Join(err, windows.CloseHandle(section)))
	}
	return n, !existed, nil
}

// mapSection maps the whole section, whatever its size is.
func mapSection(section windows.Handle, access uint32) (*Named, error) {
	view, err := windows.MapViewOfFile(section, access, 0, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	var region windows.MemoryBasicInformation
	// SAFETY: Sizeof reads no memory.
	if err := windows.VirtualQuery(view, &region, unsafe.Sizeof(region)); err != nil {
		return nil, errors.Join(fmt.Errorf("size of the map: %w", err), windows.UnmapViewOfFile(view))
	}
	// SAFETY: the system mapped RegionSize bytes at view, and keeps them until
	// UnmapViewOfFile. The conversion goes through a pointer to view because vet
	// cannot know that the address is not the garbage collector's.
	b := unsafe.Slice(*(**byte)(unsafe.Pointer(&view)), int(region.RegionSize))
	return &Named{b: b, impl: named{section: section, view: view}}, nil
}

// check always succeeds: a section keeps its name as long as a handle is open.
func (n *named) check() error { return nil }

func (n *named) close() error {
	return errors.Join(windows.UnmapViewOfFile(n.view), windows.CloseHandle(n.section))
}

func readNamed(s session.Session, name string, buf []byte) (int, error) {
	object := s.Object(name, "section")
	section, err := openSection(object)
	if err != nil {
		return 0, err
	}
	if err := s.VerifyObject(section, object); err != nil {
		return 0, errors.Join(err, windows.CloseHandle(section))
	}
	n, err := mapSection(section, windows.FILE_MAP_READ)
	if err != nil {
		return 0, errors.Join(err, windows.CloseHandle(section))
	}
	copied := copy(buf, n.b)
	return copied, n.Close()
}

// openSection calls OpenFileMappingW, which x/sys does not have.
func openSection(object string) (windows.Handle, error) {
	path, err := windows.UTF16PtrFromString(object)
	if err != nil {
		return 0, err
	}
	proc := windows.NewLazySystemDLL("kernel32.dll").NewProc("OpenFileMappingW")
	// SAFETY: path points to a zero-terminated string that lives until the call returns.
	h, _, err := proc.Call(windows.FILE_MAP_READ|windows.READ_CONTROL, 0, uintptr(unsafe.Pointer(path)))
	switch {
	case h != 0:
		return windows.Handle(h), nil
	case errors.Is(err, windows.ERROR_FILE_NOT_FOUND):
		return 0, fmt.Errorf("section %s: %w", object, fs.ErrNotExist)
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return 0, fmt.Errorf("%w: %s belongs to another user", session.ErrUnsafe, object)
	}
	return 0, fmt.Errorf("section %s: %w", object, err)
}
