//go:build linux && !tray_gtk

package tray

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"fyne.io/systray"
)

// library is fyne.io/systray, the maintained fork of getlantern/systray: pure
// Go over D-Bus.
type library struct {
	opened *atomic.Int64 // when a panel last said that it opened the menu, in Unix nanoseconds
}

// newLibrary listens to what panels say until ctx is done.
func newLibrary(ctx context.Context) library {
	l := library{opened: new(atomic.Int64)}
	go func() {
		for {
			select {
			case <-systray.TrayOpenedCh:
				if now := time.Now(); !l.held(now) { // opening it again and again holds it no longer
					l.opened.Store(now.UnixNano())
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return l
}

func (library) add(parent item, title string) (item, <-chan struct{}) {
	var it *systray.MenuItem
	if parent == nil {
		it = systray.AddMenuItem(escape(title), "")
	} else {
		it = parent.(escaped).MenuItem.AddSubMenuItem(escape(title), "")
	}
	return escaped{it}, it.ClickedCh
}

func (library) separator() { systray.AddSeparator() }

// icon survives a bus that has just gone, at which the library panics after it
// has taken the new icon in: the next bus gets it.
func (library) icon(m mood) {
	defer func() { _ = recover() }()
	systray.SetIcon(iconPNG(m))
}

func (library) tooltip(s string) { systray.SetTooltip(s) }

// openTime is how long a menu that was opened stays as it is. Panels tell when
// they close it as well, but the library keeps that to itself. Of the panels,
// lxqt's closes a menu that changes; the others show the change.
const openTime = 10 * time.Second

func (l library) held(now time.Time) bool { return now.Sub(time.Unix(0, l.opened.Load())) < openTime }

func (l library) busy(clicked time.Time) bool {
	return l.held(time.Now()) && clicked.Before(time.Unix(0, l.opened.Load()))
}

// escaped is an item whose titles are shown as they are: the menu protocol
// takes an underscore for the mark of a keyboard shortcut.
type escaped struct{ *systray.MenuItem }

func (e escaped) SetTitle(s string) { e.MenuItem.SetTitle(escape(s)) }

func escape(s string) string { return strings.ReplaceAll(s, "_", "__") }
