package portshare

import (
	"context"
	"time"

	"berth/session"
	"berth/singleton"
)

// gripPatience bounds the wait for the holder's lock, which others take for an
// instant to see whether they can.
const gripPatience = 5 * time.Second

// takeGrip takes the lock by which those can see the holder live to whom its process
// id means nothing: in a container that shares the runtime directory.
func takeGrip(s session.Session, app string) (release func() error, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), gripPatience)
	defer cancel()
	lock, err := singleton.Acquire(s, app+".holder", singleton.Wait(ctx))
	if err != nil {
		return nil, err
	}
	return lock.Release, nil
}

// gripped reports whether a holder has that lock. Whatever keeps us from finding out
// speaks for the holder.
func gripped(s session.Session, app string) bool {
	lock, err := singleton.Acquire(s, app+".holder")
	if err != nil {
		return true
	}
	lock.Release() //nolint:errcheck // its handle is closed, which is enough
	return false
}
