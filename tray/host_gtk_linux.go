//go:build linux && tray_gtk

package tray

import (
	"context"
	"net"
	"os"
	"strings"
	"time"
)

// awaitDesktop waits for a place for tray icons and for a display: GTK ends
// the process when it cannot open one.
func awaitDesktop(ctx context.Context, search time.Duration) bool {
	for awaitWatcher(ctx, search) {
		if displayAnswers() {
			return true
		}
		select {
		case <-time.After(search):
		case <-ctx.Done():
			return false
		}
	}
	return false
}

// displayAnswers says whether the display named in the environment can be
// reached.
func displayAnswers() bool {
	path := ""
	if name := os.Getenv("WAYLAND_DISPLAY"); name != "" {
		path = name
		if !strings.HasPrefix(name, "/") {
			path = os.Getenv("XDG_RUNTIME_DIR") + "/" + name
		}
	} else if name, ok := strings.CutPrefix(os.Getenv("DISPLAY"), ":"); ok {
		number, _, _ := strings.Cut(name, ".")
		path = "/tmp/.X11-unix/X" + number
	} else {
		return os.Getenv("DISPLAY") != "" // a remote display: GTK will see
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// menuOpen has nothing to watch: GTK takes changes of an open menu.
func menuOpen() func() bool { return nil }

func iconBytes(m mood) []byte { return iconPNG(m) }

func cutTooltip(s string) string { return s }

// escape keeps menus from taking an underscore for the mark of a shortcut.
func escape(s string) string { return strings.ReplaceAll(s, "_", "__") }
