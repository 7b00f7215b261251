package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	wmDestroy    = 0x0002
	wmClose      = 0x0010
	wmEndSession = 0x0016
)

// wndClassEx is WNDCLASSEXW.
type wndClassEx struct {
	size, style                        uint32
	wndProc                            uintptr
	clsExtra, wndExtra                 int32
	instance, icon, cursor, background windows.Handle
	menuName, className                *uint16
	iconSm                             windows.Handle
}

// winMsg is MSG.
type winMsg struct {
	hwnd           windows.Handle
	message        uint32
	wParam, lParam uintptr
	time           uint32
	x, y           int32
	private        uint32
}

// onLogoff calls end when the user logs off or the machine shuts down. Windows
// tells it to windows alone, and may end the process as soon as the window has
// answered, so the answer waits for ended. A message-only window would not be
// told: this is a top-level one that is never shown.
func onLogoff(end func(), ended <-chan struct{}) (stop func()) {
	made := make(chan uintptr, 1)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		runtime.LockOSThread() // a window belongs to its thread
		defer runtime.UnlockOSThread()
		logoffLoop(end, ended, made)
	}()
	hwnd := <-made
	return func() {
		if hwnd != 0 {
			_, _, _ = windows.NewLazySystemDLL("user32.dll").NewProc("PostMessageW").Call(hwnd, wmClose, 0, 0)
			<-gone
		}
	}
}

// logoffLoop makes the window and serves it until it is closed.
func logoffLoop(end func(), ended <-chan struct{}, made chan<- uintptr) {
	user32 := windows.NewLazySystemDLL("user32.dll")
	proc := func(hwnd, message, wParam, lParam uintptr) uintptr {
		switch {
		case message == wmEndSession && wParam != 0:
			end()
			<-ended
			return 0
		case message == wmDestroy:
			_, _, _ = user32.NewProc("PostQuitMessage").Call(0)
			return 0
		}
		r, _, _ := user32.NewProc("DefWindowProcW").Call(hwnd, message, wParam, lParam)
		return r
	}
	hwnd := hiddenWindow(user32, windows.NewCallback(proc))
	made <- hwnd
	if hwnd == 0 {
		return // no desktop: nobody logs off here
	}
	var m winMsg
	for {
		// SAFETY: m outlives the call, which fills it.
		more, _, _ := user32.NewProc("GetMessageW").Call(uintptr(unsafe.Pointer(&m)), 0, 0, 0)
		if int32(more) <= 0 {
			return
		}
		// SAFETY: m outlives the call, which reads it.
		_, _, _ = user32.NewProc("DispatchMessageW").Call(uintptr(unsafe.Pointer(&m)))
	}
}

func hiddenWindow(user32 *windows.LazyDLL, proc uintptr) uintptr {
	name, err := windows.UTF16PtrFromString("BerthSessionEnd")
	if err != nil {
		return 0
	}
	class := wndClassEx{wndProc: proc, className: name}
	class.size = uint32(unsafe.Sizeof(class)) // SAFETY: only its size is taken.
	// SAFETY: class and name outlive both calls, which copy them.
	_, _, _ = user32.NewProc("RegisterClassExW").Call(uintptr(unsafe.Pointer(&class)))
	// SAFETY: as above.
	hwnd, _, _ := user32.NewProc("CreateWindowExW").Call(0, uintptr(unsafe.Pointer(name)), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	return hwnd
}
