//go:build linux || darwin

package session

import (
	"context"
	"time"
)

// poll looks at intervals until the file is lost (true) or ctx ends (false).
func poll(ctx context.Context, every time.Duration, present func() bool) bool {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for present() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
