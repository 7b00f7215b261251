package portshare

import "os"

// lockMode carries the sticky bit: the XDG specification exempts such files from
// the periodic cleaning of runtime directories.
const lockMode = 0o600 | os.ModeSticky
