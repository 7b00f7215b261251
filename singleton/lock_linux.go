package singleton

import (
	"io/fs"
	"os"
)

// mode carries the sticky bit for the session's locks: the XDG specification
// exempts such files from the periodic cleaning of runtime directories.
func mode(o options) fs.FileMode {
	if o.machine {
		return 0o644
	}
	return 0o600 | os.ModeSticky
}
