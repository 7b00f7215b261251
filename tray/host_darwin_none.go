//go:build darwin && !cgo

package tray

import "context"

func available(context.Context) error { return ErrNoTray }

// host has nothing to show: AppKit is out of reach without cgo.
func (t *tray) host(context.Context) error { return ErrNoTray }
