package portshare

import (
	"errors"
	"fmt"
)

// ErrElevated says that this program runs elevated and the controller does not, so nothing
// is handed over to it. It is an [ErrRefused].
var ErrElevated = fmt.Errorf("%w beside a controller of lower rank", ErrRefused)

// refuseRank keeps an elevated companion from a controller that is not: what it hands
// over would come into the reach of every ordinary program of the user. A controller
// that can't be asked is refused too, by a caller that is elevated.
func refuseRank(pid int, outranks func(pid int) (bool, error)) error {
	higher, err := outranks(pid)
	if err == nil && !higher {
		return nil
	}
	return errors.Join(fmt.Errorf("%w: this program runs with administrator rights and the controller (pid %d) does not. Start this program without them, or the controller with them", ErrElevated, pid), err)
}
