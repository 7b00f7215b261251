package portshare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/session"
	"berth/singleton"
)

const (
	// ensurePatience is the deadline of Ensure when its context has none.
	ensurePatience = 20 * time.Second
	// turn is how long Ensure waits for listening before it asks again for the
	// right to start a controller.
	turn = 250 * time.Millisecond
	// exitRunning is a controller's exit code for "another one runs already".
	exitRunning = 3
	// exitRefused is a controller's exit code for what this user may not use.
	exitRefused = 5
)

// ErrRefused says that going on would not be safe. The controller that was started would not run
// for this user, because a directory, a file or a key it needs is not safe to use; or
// the case is [ErrElevated].
var ErrRefused = errors.New("refused")

// Ensure joins the record of app, has a controller started when none listens, and
// waits until one does. One process of the session at a time starts one; the others
// wait for it, and take over if it dies. start begins a controller and returns without
// waiting for it; nil runs [session.Controller] detached from this process. Without a
// deadline in ctx, Ensure gives up after 20 seconds. A caller that runs elevated beside a
// controller that does not is refused with [ErrElevated]. The Record is the caller's to
// close; it is nil when an error is returned.
func Ensure(ctx context.Context, s session.Session, app string, start func() error, opts ...Option) (*Record, Info, error) {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ensurePatience)
		defer cancel()
	}
	r, err := Join(s, app, opts...)
	if err != nil {
		return nil, Info{}, err
	}
	launch := func() (<-chan int, error) { return launchController(s) }
	if start != nil {
		launch = func() (<-chan int, error) { return nil, start() }
	}
	info, err := ensure(ctx, r, launch)
	if err == nil {
		err = refuseRank(info.PID, s.Outranks)
	}
	if err != nil {
		return nil, info, errors.Join(err, r.Close())
	}
	return r, info, nil
}

// ensure takes the right to start, a lock of its own that passes on when its owner
// dies, or waits for whoever has it. launch answers a channel that tells the exit code.
func ensure(ctx context.Context, r *Record, launch func() (<-chan int, error)) (Info, error) {
	for {
		// A draining controller still has the instance lock: a new one would be refused.
		info, err := r.Wait(ctx, func(i Info) bool { return i.State != Draining })
		if ctx.Err() != nil {
			return info, late(ctx)
		}
		if err != nil || info.State == Listening {
			return info, err
		}
		right, err := singleton.Acquire(r.session, r.app+".start")
		switch {
		case errors.Is(err, singleton.ErrHeld):
			info, err = listening(ctx, r, turn)
		case err == nil:
			info, err = startOne(ctx, r, launch)
			err = errors.Join(err, right.Release())
		}
		if err == nil || !errors.Is(err, errAgain) {
			return info, err
		}
	}
}

// errAgain: nobody listens yet, and it may be this process's turn.
var errAgain = errors.New("not yet")

// listening waits for a limited time, and answers errAgain after it.
func listening(ctx context.Context, r *Record, patience time.Duration) (Info, error) {
	short, cancel := context.WithTimeoutCause(ctx, patience, errAgain)
	defer cancel()
	info, err := r.Listening(short)
	if err != nil && ctx.Err() != nil {
		err = late(ctx)
	}
	return info, err
}

// startOne starts a controller and waits for it, or for its early end.
func startOne(ctx context.Context, r *Record, launch func() (<-chan int, error)) (Info, error) {
	info, err := r.Info()
	if err != nil || info.State == Listening { // the last owner of the right succeeded
		return info, err
	}
	exited, err := launch()
	if err != nil {
		return info, fmt.Errorf("start a controller: %w", err)
	}
	started, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case code := <-exited:
			cancel(exitError(code))
		case <-started.Done():
		}
	}()
	info, err = r.Listening(started)
	var code exitError
	switch {
	case err == nil:
		return info, nil
	case errors.As(err, &code) && code == exitRunning:
		// Another one runs: it has not published yet, or is draining.
		return listening(ctx, r, turn)
	case ctx.Err() != nil:
		err = late(ctx)
	}
	return info, err
}

func late(ctx context.Context) error {
	return fmt.Errorf("no controller listened in time; run \"controller\" in a terminal to see what keeps it: %w", context.Cause(ctx))
}

// exitError is the exit code of a controller that ended before it listened.
type exitError int

// Is makes a refusal of the controller one of Ensure.
func (e exitError) Is(target error) bool { return e == exitRefused && target == ErrRefused }

func (e exitError) Error() string {
	return fmt.Sprintf("the controller ended with exit code %d before it listened; run \"controller\" in a terminal to see why", int(e))
}
