package tray

import "time"

// slowest is pace.slow of this system.
const slowest = 5 * time.Second
