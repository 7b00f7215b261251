package singleton

import (
	"io/fs"
)

func mode(o options) fs.FileMode {
	if o.machine {
		return 0o644
	}
	return 0o600
}

// heldBy says nothing: the system does not tell who has a file locked.
func heldBy(string) string { return "" }
