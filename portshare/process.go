package portshare

import (
	"fmt"
	"os"
)

// process identifies a process beyond the reuse of its id.
type process struct {
	pid       int
	start     uint64
	namespace uint32
}

// self identifies this process.
func self() (process, error) {
	start, err := ownStart()
	if err != nil {
		return process{}, fmt.Errorf("start time of this process: %w", err)
	}
	return process{pid: os.Getpid(), start: start, namespace: pidNamespace()}, nil
}

// holder is the process that the record names.
func (i Info) holder() process {
	return process{pid: i.PID, start: i.Start, namespace: i.namespace}
}

// visible reports whether p's id means the same to us as to p. In another process
// id namespace (a container that shares the runtime directory) it does not, and a
// holder there must never be declared dead from here.
func (p process) visible(me process) bool { return p.namespace == me.namespace }
