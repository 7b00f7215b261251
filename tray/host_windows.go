package tray

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"
)

// awaitDesktop waits for the taskbar. The library gives up when it finds none,
// as right after logon, before the shell is up.
func awaitDesktop(ctx context.Context, search time.Duration) bool {
	for !taskbar() {
		select {
		case <-time.After(search):
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

func available(context.Context) error {
	if !taskbar() {
		return fmt.Errorf("%w: no taskbar is running in this session", ErrNoPlace)
	}
	return nil
}

func taskbar() bool {
	find := windows.NewLazySystemDLL("user32.dll").NewProc("FindWindowW")
	class, err := windows.UTF16PtrFromString("Shell_TrayWnd")
	if err != nil || find.Find() != nil {
		return false
	}
	// SAFETY: class is a live zero-terminated string; a nil title means any.
	window, _, _ := find.Call(uintptr(unsafe.Pointer(class)), 0)
	return window != 0
}

// menuOpen answers a function that says whether the calling thread, which is
// to own the library's window, is showing a menu. A line that changes then
// loses its highlight, and with it the menu loses track of the open submenu:
// the click on that goes nowhere.
func menuOpen() func() bool {
	const inMenuMode = 0x4 // GUI_INMENUMODE
	thread := windows.GetCurrentThreadId()
	return func() bool {
		var info windows.GUIThreadInfo
		info.Size = uint32(unsafe.Sizeof(info)) // SAFETY: only its size is taken.
		return windows.GetGUIThreadInfo(thread, &info) == nil && info.Flags&inMenuMode != 0
	}
}

func iconBytes(m mood) []byte { return iconICO(m) }

// cutTooltip keeps the text within what the taskbar takes, 127 UTF-16 units
// and a zero, which the library doesn't check.
func cutTooltip(s string) string {
	const limit = 127
	for len(utf16.Encode([]rune(s))) > limit {
		r := []rune(s)
		s = string(r[:len(r)-1])
	}
	return s
}

// escape keeps menus from taking an ampersand for the mark of a shortcut.
func escape(s string) string { return strings.ReplaceAll(s, "&", "&&") }
