package session

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// watch returns true once present is false, and false when ctx ends first. macOS
// keeps the directory across logouts, but clears out files that nobody has
// touched for three days: so they are touched.
func watch(ctx context.Context, path string, present func() bool) bool {
	touched := time.Now()
	return poll(ctx, 10*time.Second, func() bool {
		if time.Since(touched) > time.Hour {
			touched = time.Now()
			refresh(filepath.Dir(path), touched)
		}
		return present()
	})
}

func refresh(dir string, now time.Time) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		os.Chtimes(filepath.Join(dir, e.Name()), now, now) //nolint:errcheck // a file may be gone already
	}
}
