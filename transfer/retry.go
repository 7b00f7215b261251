package transfer

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// retrier decides when a job that failed for a passing reason is tried again:
// after 1 s, 2 s, 4 s … 5 min, each ± 50 %, from the start again once bytes
// have moved. It is guarded by Queue.mu.
type retrier struct {
	delays *backoff.ExponentialBackOff
	moved  bool
}

func newRetrier() *retrier {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.Multiplier, b.MaxInterval = time.Second, 2, 5*time.Minute
	b.Reset()
	return &retrier{delays: b}
}

// progressed notes that the present attempt was not in vain.
func (r *retrier) progressed() { r.moved = true }

// after answers how long to wait before the next attempt.
func (r *retrier) after() time.Duration {
	if r.moved {
		r.reset()
	}
	return r.delays.NextBackOff()
}

func (r *retrier) reset() {
	r.delays.Reset()
	r.moved = false
}
