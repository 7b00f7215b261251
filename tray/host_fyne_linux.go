//go:build linux && !tray_gtk

package tray

import (
	"context"
	"fmt"

	"fyne.io/systray"
	"github.com/godbus/dbus/v5"
)

// host shows the menu on every desktop session bus that comes and has a place
// for tray icons. The library's Run and Quit are not used: Quit panics without
// a bus, and both work only once in a process.
func (t *tray) host(ctx context.Context) error {
	systray.SetTitle("Berth") // before the start: it becomes the item's id
	kit := newLibrary(ctx)
	ready := func() { t.build(ctx, kit) }
	for {
		if !awaitWatcher(ctx, t.pace.search) {
			return nil
		}
		bus, err := dbus.SessionBus() // the connection that the library will use
		if err != nil {
			continue // gone again
		}
		start, _ := systray.RunWithExternalLoop(ready, nil)
		ready = nil // the menu is built once and outlives the connection
		start()
		t.show(true)
		select {
		case <-bus.Context().Done():
			t.show(false)
			t.cfg.Log.Info("tray: the desktop session is gone; the icon comes back with the next one")
		case <-ctx.Done():
			t.tasks.Wait() // nothing may be written to the bus that is closed next
			if err := bus.Close(); err != nil {
				return fmt.Errorf("taking the tray icon away: %w", err)
			}
			return nil
		}
	}
}
