//go:build windows || (linux && tray_gtk)

package tray

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/getlantern/systray"
)

// host waits for a desktop and runs the library's event loop on a thread of
// its own: the loop may never return when the library fails, and that must not
// hold up the program.
func (t *tray) host(ctx context.Context) error {
	if !awaitDesktop(ctx, t.pace.search) {
		return nil
	}
	var ready atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: the thread owns the library's window
		kit := library{open: menuOpen()}
		t.guarded(func() {
			systray.Run(func() {
				t.build(ctx, kit)
				ready.Store(true)
				t.show(true)
			}, func() { t.exit(ctx) })
		})
	}()
	select {
	case <-ended:
		if ctx.Err() == nil {
			return errors.New("the tray library ended by itself; transfers go on without an icon")
		}
		return nil
	case <-ctx.Done():
	}
	if !ready.Load() {
		return nil // nothing to take away, and Quit would not reach the loop
	}
	systray.Quit()
	select {
	case <-ended:
	case <-time.After(t.pace.closing):
		t.cfg.Log.Warn("tray: the icon did not go away in time")
	}
	return nil
}

// exit runs in the library's loop when it ends. Unless we asked for that, the
// desktop session is ending.
func (t *tray) exit(ctx context.Context) {
	if ctx.Err() == nil && t.cfg.Exit != nil {
		t.cfg.Exit()
	}
}
