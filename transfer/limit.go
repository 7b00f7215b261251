package transfer

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// slice is how many bytes an upload gets in one Write: small enough to see a
// stall and to share a limit, large enough to cost nothing.
const slice = 256 << 10

// limiter answers a bandwidth limit in bytes per second; 0 is none.
func limiter(bytesPerSecond int64) *rate.Limiter {
	l := rate.NewLimiter(rate.Inf, slice)
	setLimit(l, bytesPerSecond)
	return l
}

func setLimit(l *rate.Limiter, bytesPerSecond int64) {
	if bytesPerSecond <= 0 {
		l.SetLimit(rate.Inf)
		return
	}
	// A burst of a tenth of a second keeps the flow even; whole pieces stay cheap.
	l.SetBurst(int(min(slice, max(1024, bytesPerSecond/10))))
	l.SetLimit(rate.Limit(bytesPerSecond))
}

// limited is an [Upload] that takes its bytes from a limit shared by all.
type limited struct {
	Upload
	ctx   context.Context
	limit *rate.Limiter
}

func (u limited) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), u.limit.Burst())]
		if err = u.limit.WaitN(u.ctx, len(part)); err != nil {
			return n, err
		}
		var w int
		w, err = u.Upload.Write(part)
		n, b = n+w, b[w:]
	}
	return n, err
}

// watched is an [Upload] that calls stalled when a single Write, of at most
// slice bytes, takes longer than patience.
type watched struct {
	Upload
	patience time.Duration
	stalled  func()
}

func (u watched) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		t := time.AfterFunc(u.patience, u.stalled)
		var w int
		w, err = u.Upload.Write(b[:min(len(b), slice)])
		t.Stop()
		n, b = n+w, b[w:]
	}
	return n, err
}

func (u watched) Close() error {
	t := time.AfterFunc(u.patience, u.stalled)
	defer t.Stop()
	return u.Upload.Close()
}
