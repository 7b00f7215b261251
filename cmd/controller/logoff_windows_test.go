package main

import (
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// TestLogoff plays the system that ends a session: the message must not be
// answered before the work is safe.
func TestLogoff(t *testing.T) {
	asked, ended := make(chan struct{}), make(chan struct{})
	stop := onLogoff(func() { close(asked) }, ended)
	user32 := windows.NewLazySystemDLL("user32.dll")
	name, err := windows.UTF16PtrFromString("BerthSessionEnd")
	if err != nil {
		t.Fatal(err)
	}
	// SAFETY: name outlives the call, which reads it.
	hwnd, _, _ := user32.NewProc("FindWindowW").Call(uintptr(unsafe.Pointer(name)), 0)
	if hwnd == 0 {
		close(ended)
		stop()
		t.Skip("there is no desktop: windows can't be made")
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _, _ = user32.NewProc("SendMessageW").Call(hwnd, wmEndSession, 1, 0)
	}()
	await(t, asked, "nobody was asked to end")
	select {
	case <-answered:
		t.Fatal("the system was answered before the work was safe")
	case <-time.After(100 * time.Millisecond):
	}
	close(ended)
	await(t, answered, "the system was never answered")
	stop()
}

func await(t *testing.T, c <-chan struct{}, otherwise string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal(otherwise)
	}
}
