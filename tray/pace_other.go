//go:build windows || darwin

package tray

import "time"

// slowest is pace.slow of these systems, whose menus don't mind.
const slowest = time.Second
