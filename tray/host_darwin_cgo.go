//go:build darwin && cgo

package tray

import (
	"context"

	"github.com/getlantern/systray"
)

// host runs AppKit's event loop, which must have the main thread. The library
// can leave it only by ending the process, after calling exit.
func (t *tray) host(ctx context.Context) error {
	ready := make(chan struct{})
	go func() {
		<-ready // before that, Quit is lost, and it works only once
		<-ctx.Done()
		systray.Quit()
	}()
	systray.Run(func() {
		close(ready)
		t.build(ctx, library{})
		t.show(true)
	}, func() {
		if t.cfg.Exit != nil {
			t.cfg.Exit()
		}
	})
	return nil
}

// available is always so: every graphical session has a menu bar, and launchd
// starts the controller in no other.
func available(context.Context) error { return nil }

func iconBytes(m mood) []byte { return iconPNG(m) }

func cutTooltip(s string) string { return s }

func escape(s string) string { return s }
