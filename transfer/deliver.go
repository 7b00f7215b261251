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
	var workers, notes sync.WaitGroup
	for range min(q.cfg.Concurrency, len(j.items)) {
		workers.Go(func() {
			for n := range numbers {
				err := q.deliverItem(ctx, j, n, b)
				failures.add(err)
				if err == nil {
					notes.Go(func() { failures.add(q.noteDone(j, n, b)) })
				}
			}
		})
	}
	for n := range j.items {
		if n%intentWindow == 0 {
			failures.add(q.noteIntent(j, n))
		}
		if failures.stop() || ctx.Err() != nil {
			break
		}
		numbers <- n
	}
	close(numbers)
	workers.Wait()
	notes.Wait()
	return errors.Join(failures.err(), ctx.Err())
}

// intentWindow is for how many items at a time it is noted that Begin may have
// been called: many small ones would otherwise wait for the disk each.
const intentWindow = 32

// noteIntent notes it for the items from n on, before any of them is handed to
// a worker.
func (q *Queue) noteIntent(j *job, n int) error {
	var fresh []int
	for end := min(n+intentWindow, len(j.items)); n < end; n++ {
		if j.items[n].rec.Phase == phaseNew {
			fresh = append(fresh, n)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return q.save(j, func(r *itemRecord) { r.Phase = phaseBegun }, fresh...)
}

// noteDone notes that an item was committed. Nothing waits for it but the end of
// the job: after a crash before it, Commit is called again, which succeeds.
func (q *Queue) noteDone(j *job, n int, b Backend) error {
	it := j.items[n]
	if it.rec.Phase == phaseDone {
		return nil
	}
	return q.save(j, func(r *itemRecord) { r.Phase, r.Link = phaseDone, link(b, *r) }, n)
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
		if err := q.save(j, func(r *itemRecord) { r.Phase = phaseStale }, n); err != nil {
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
		if p := other.rec.Phase; p != phaseVerified && p != phaseDone && other.stage == idle {
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

// setDone notes how much of an item the server has confirmed.
func (q *Queue) setDone(j *job, it *item, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it.done, it.confirmed = n, n
	q.tell(j)
}

// takeBack takes back the progress of an attempt that ended early: bytes that were
// handed over may not have arrived. The next Open tells.
func (q *Queue) takeBack(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range j.items {
		it.done = min(it.done, it.confirmed)
	}
	q.tell(j)
}
