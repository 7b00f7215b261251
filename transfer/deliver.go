package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// deliver brings every item of a job to its destination, several at a time.
func (q *Queue) deliver(ctx context.Context, j *job) error {
	b, err := q.cfg.Backend(j.destination)
	if err != nil {
		return fmt.Errorf("destination %q: %w", j.destination, err)
	}
	if !provable(b) {
		return advise(ErrPermanent, nil, "destination %q offers neither a checksum nor a way to read back, so that nothing sent there can be proved. Use another one.", j.destination)
	}
	numbers := make(chan int)
	var failures failures
	var workers sync.WaitGroup
	for range min(q.cfg.Concurrency, len(j.items)) {
		workers.Go(func() {
			for n := range numbers {
				failures.add(q.deliverItem(ctx, j, n, b))
			}
		})
	}
	for n := range j.items {
		if failures.stop() || ctx.Err() != nil {
			break
		}
		numbers <- n
	}
	close(numbers)
	workers.Wait()
	return errors.Join(failures.err(), ctx.Err())
}

// failures collects what went wrong with the items of a job. A source file that
// cannot be sent does not keep the others from being sent; anything else is
// about the server and ends the attempt.
type failures struct {
	mu     sync.Mutex
	source []error
	server error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
	case errors.Is(err, ErrSource):
		f.source = append(f.source, err)
	case f.server == nil:
		f.server = err
	}
}

func (f *failures) stop() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.server != nil
}

// err answers one error for all: the server's if there is one, because the files
// are looked at again in the next attempt.
func (f *failures) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.server != nil:
		return f.server
	case len(f.source) > 1:
		return fmt.Errorf("%w (and %d more files)", f.source[0], len(f.source)-1)
	case len(f.source) == 1:
		return f.source[0]
	}
	return nil
}

// Why an object has to start anew. Neither reaches a caller bare.
var (
	errForeign  = errors.New("the server holds other bytes than the beginning of this file")
	errMismatch = errors.New("what arrived differs from what was sent")
)

// freshStarts is how often one attempt begins an object anew.
const freshStarts = 3

// deliverItem uploads, proves and commits one item, beginning anew when the
// server has lost it or holds something else.
func (q *Queue) deliverItem(ctx context.Context, j *job, n int, b Backend) error {
	select {
	case q.slots <- struct{}{}:
		defer func() { <-q.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	d := &delivery{q: q, j: j, n: n, it: j.items[n], b: b}
	defer q.setStage(j, d.it, idle)
	for try := 1; ; try++ {
		err := d.once(ctx)
		anew := errors.Is(err, ErrGone) || errors.Is(err, errForeign) || errors.Is(err, errMismatch)
		if !anew || ctx.Err() != nil {
			return err
		}
		if try == freshStarts {
			return d.giveUp(err)
		}
		q.cfg.Log.Warn("starting an upload anew", "job", j.id, "item", n, "reason", err)
		if err := q.save(j, n, func(r *itemRecord) { r.Phase = phaseStale }); err != nil {
			return err
		}
	}
}

// giveUp: a server that damages bytes again and again needs a person; one that
// forgets uploads may only be busy.
func (d *delivery) giveUp(err error) error {
	if errors.Is(err, ErrGone) {
		return fmt.Errorf("the server lost %q %d times in a row: %w", d.it.rec.Object.Name, freshStarts, err)
	}
	return advise(ErrPermanent, err, "%q was sent %d times and each time %v. Something damages it on the way or on the server: check the server's disk and any proxy, then retry.",
		d.it.rec.Object.Name, freshStarts, err)
}

// setStage notes what an item is doing and moves the job between uploading and
// verifying: it verifies when all that is left of it is being proved.
func (q *Queue) setStage(j *job, it *item, s stage) {
	q.mu.Lock()
	it.stage = s
	counts := map[stage]int{}
	left := 0
	for _, other := range j.items {
		counts[other.stage]++
		if other.rec.Phase != phaseDone && other.stage == idle {
			left++
		}
	}
	state := j.state
	q.mu.Unlock()
	switch {
	case state == Uploading && counts[proving] > 0 && counts[sending] == 0 && left == 0:
		q.transition(j, evVerify, nil) //nolint:errcheck // refused when paused meanwhile
	case state == Verifying && counts[sending] > 0:
		q.transition(j, evMismatch, nil) //nolint:errcheck // likewise
	}
}

// setDone notes how much of an item the server holds.
func (q *Queue) setDone(j *job, it *item, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it.done = n
	q.tell(j)
}
