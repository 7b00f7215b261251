package shm

import "os"

// fileMode carries the sticky bit: the XDG specification exempts such files from
// the periodic cleaning of runtime directories.
const fileMode = 0o600 | os.ModeSticky
