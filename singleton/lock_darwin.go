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
