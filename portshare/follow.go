package portshare

import (
	"context"
	"fmt"
	"time"
)

// backstop is how often Wait looks at the record without being woken, for the two
// events that ring no bell: the runtime directory was replaced, or a writer was
// killed between its last store and its wake-up.
const backstop = 3 * time.Second

// follow wakes this process's waiters at each change of the record, keeps the port
// reserved when it changes, and watches the holder. It ends with Close.
func (r *Record) follow() {
	for {
		// In this order no change is missed: what happens after the sequence was
		// read makes the wait return at once.
		sequence := r.sequence()
		if r.running.Err() == nil {
			r.attend()
		}
		if sequence%2 != 0 && r.running.Err() == nil {
			r.pause()
			continue
		}
		if r.bell.wait(sequence) {
			return
		}
	}
}

// pause passes the time of a write that is under way. Its end rings for the even
// sequence before it, so there is no bell to wait for. It lasts a microsecond unless
// the writer has been stopped or killed.
func (r *Record) pause() {
	select {
	case <-time.After(time.Millisecond):
	case <-r.running.Done():
	}
}

func (r *Record) attend() {
	info, err := r.Info()
	r.mu.Lock()
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	if err != nil {
		return
	}
	r.hold(info.Port) //nolint:errcheck // a port that is lost is replaced by those who listen or join
	r.watch(info)
}

// watch sees to it that the death of the record's holder is noticed at once. Every
// participant does so; the first one to get the gate publishes it.
func (r *Record) watch(info Info) {
	p := process{}
	if info.held() && info.holder() != r.me && info.holder().visible(r.me) {
		p = info.holder()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p == r.watching {
		return
	}
	if r.unwatch != nil {
		r.unwatch()
		r.unwatch = nil
	}
	r.watching = p
	if p == (process{}) {
		return
	}
	ctx, cancel := context.WithCancel(r.running)
	r.unwatch = cancel
	r.tasks.Go(func() {
		defer cancel()
		if awaitDeath(ctx, p) {
			r.Info() //nolint:errcheck // releases the dead; a failure shows in everybody's next call
		}
	})
}

// next returns a channel that is closed after the next change of the record.
func (r *Record) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Wait returns the record as soon as accept says so, which it is asked at once and
// after each change. It sleeps in between: a change wakes it. It fails when ctx ends,
// with [ErrClosed] after Close, and with [ErrStale] when the session's runtime
// directory has been replaced. The Info of a failed Wait is the last one seen.
func (r *Record) Wait(ctx context.Context, accept func(Info) bool) (Info, error) {
	tick := time.NewTicker(r.backstop)
	defer tick.Stop()
	for {
		// Fetched before the record is read: a change after the reading closes it.
		changed := r.next()
		info, err := r.Info()
		if err != nil {
			return info, err
		}
		if accept(info) {
			return info, nil
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-r.running.Done():
			return info, ErrClosed
		case <-ctx.Done():
			return info, fmt.Errorf("the port record says %s: %w", info, context.Cause(ctx))
		}
	}
}

// Listening waits until a controller listens.
func (r *Record) Listening(ctx context.Context) (Info, error) {
	info, err := r.Wait(ctx, func(i Info) bool { return i.State == Listening })
	if err != nil {
		return info, fmt.Errorf("waiting for a controller: %w", err)
	}
	return info, nil
}
