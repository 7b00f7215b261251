// Package peer holds what the remote backends have in common: where an object
// goes on a server, when a server's offset can be trusted, and a connection
// that notices a peer which has stopped taking bytes.
package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Dial opens a connection, as [net.Dialer.DialContext] does.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Secret answers a password, a header or a key when it is needed, so that no
// backend keeps one longer than a login takes. A nil Secret means none.
type Secret func(context.Context) (string, error)

// Get asks s. The error never contains the secret.
func (s Secret) Get(ctx context.Context) (string, error) {
	if s == nil {
		return "", nil
	}
	return s(ctx)
}

// agreeTries bounds how often [Agree] reads: with its growing pauses it spends
// about six seconds on a server that never settles.
const agreeTries = 12

// ErrMoving says that a server's offset kept changing: an old connection is
// still delivering. Trying again later helps.
var ErrMoving = errors.New("the server is still taking bytes of an earlier connection; it is tried again")

// Agree reads an offset until two consecutive reads give the same, because a
// connection that was cut a moment ago may still be draining into the file.
func Agree(ctx context.Context, read func(context.Context) (int64, error)) (int64, error) {
	last, err := read(ctx)
	if err != nil {
		return 0, err
	}
	pause := 15 * time.Millisecond
	for range agreeTries {
		if err := Sleep(ctx, pause); err != nil {
			return 0, err
		}
		next, err := read(ctx)
		if err != nil || next == last {
			return next, err
		}
		last, pause = next, min(2*pause, time.Second)
	}
	return 0, ErrMoving
}

// Sleep pauses for d or until ctx ends, whose error it answers.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Cause gives err the context's own error when that is what ended the call, so
// that a cancelled upload doesn't look like a broken network.
func Cause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w (%w)", ctx.Err(), err)
}
