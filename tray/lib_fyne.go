//go:build linux && !tray_gtk

package tray

import (
	"strings"

	"fyne.io/systray"
)

// library is fyne.io/systray, the maintained fork of getlantern/systray: pure
// Go over D-Bus.
type library struct{}

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

func (library) busy() bool { return false } // the panel has a copy of the menu

// escaped is an item whose titles are shown as they are: the menu protocol
// takes an underscore for the mark of a keyboard shortcut.
type escaped struct{ *systray.MenuItem }

func (e escaped) SetTitle(s string) { e.MenuItem.SetTitle(escape(s)) }

func escape(s string) string { return strings.ReplaceAll(s, "_", "__") }
