//go:build windows || (darwin && cgo) || (linux && tray_gtk)

package tray

import (
	"time"

	"github.com/getlantern/systray"
)

// library is github.com/getlantern/systray.
type library struct {
	open func() bool // whether the menu is open and must be left alone; nil is never
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

func (library) icon(m mood) { systray.SetIcon(iconBytes(m)) }

func (library) tooltip(s string) { systray.SetTooltip(cutTooltip(s)) }

func (l library) busy(time.Time) bool { return l.open != nil && l.open() }

// escaped is an item whose titles are shown as they are.
type escaped struct{ *systray.MenuItem }

func (e escaped) SetTitle(s string) { e.MenuItem.SetTitle(escape(s)) }
