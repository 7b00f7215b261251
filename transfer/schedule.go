package transfer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// wake makes the scheduler look again. It never blocks.
func (q *Queue) wake() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// schedule starts what can run, in the order of acceptance, until the queue ends.
func (q *Queue) schedule() {
	defer q.work.Done()
	for {
		select {
		case <-q.ctx.Done():
			return
		case <-q.kick:
			q.startRunnable()
			q.prune()
		}
	}
}

// startRunnable starts at most Concurrency uploading jobs, and as many clean-ups
// beside them: a server that is down for one must not hold up the other.
func (q *Queue) startRunnable() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, j := range q.order {
		if q.running >= q.cfg.Concurrency && q.aborting >= q.cfg.Concurrency {
			return
		}
		if j.run != nil || now.Before(j.retryAt) {
			continue
		}
		switch {
		case j.state == Queued && q.running < q.cfg.Concurrency:
			q.start(j, &q.running, q.attempt)
		case j.state == Canceled && j.leftovers() && q.aborting < q.cfg.Concurrency:
			q.start(j, &q.aborting, q.cleanUp)
		}
	}
}

// leftovers reports whether a canceled job may still have something on a server
// or in the spool.
func (j *job) leftovers() bool {
	return j.files || slices.ContainsFunc(j.items, func(it *item) bool { return it.rec.Phase != phaseNew })
}

// start runs f on a job; q.mu is held. count is one of q's counters.
func (q *Queue) start(j *job, count *int, f func(context.Context, *job)) {
	ctx, cancel := context.WithCancel(q.ctx)
	r := &run{cancel: cancel, ended: make(chan struct{})}
	j.run = r
	*count++
	q.work.Add(1)
	go func() {
		defer q.work.Done()
		defer cancel()
		f(ctx, j)
		q.mu.Lock()
		*count--
		q.mu.Unlock()
		q.release(j, r)
	}()
}

// attempt works on a job until it is done, has failed, or was stopped.
func (q *Queue) attempt(ctx context.Context, j *job) {
	if q.transition(j, evStart, func(r *jobRecord) { r.Error = "" }) != nil {
		return // paused or canceled a moment ago
	}
	q.mu.Lock()
	j.rate = meter{}
	q.mu.Unlock()
	err := q.deliver(ctx, j)
	if err == nil {
		err = q.finish(j)
	}
	if err != nil {
		q.settle(ctx, j, err)
	}
}

// finish makes a delivered job done and deletes what it no longer needs.
func (q *Queue) finish(j *job) error {
	if q.state(j) == Uploading { // every item was proved before a restart
		if err := q.transition(j, evVerify, nil); err != nil {
			return err
		}
	}
	err := q.transition(j, evFinish, func(r *jobRecord) { r.Finished = time.Now().UTC() })
	if err == nil {
		q.cfg.Log.Info("delivered", "job", j.id, "items", len(j.items))
		q.deleteFiles(j)
	}
	return err
}

// settle decides what becomes of a job whose attempt ended early. A transition
// that is refused means that a person was faster, and right.
func (q *Queue) settle(ctx context.Context, j *job, err error) {
	if ctx.Err() != nil || errors.Is(err, ErrState) {
		q.transition(j, evBackOff, nil) //nolint:errcheck // see above
		q.confirm(j)
		return
	}
	q.takeBack(j)
	if permanent(err) {
		failed := q.transition(j, evFail, func(r *jobRecord) {
			r.Finished, r.Error, r.Refused = time.Now().UTC(), err.Error(), errors.Is(err, ErrUnauthorized)
		})
		if failed == nil || errors.Is(failed, ErrState) {
			q.cfg.Log.Warn("failed", "job", j.id, "error", err)
			return
		}
		err = errors.Join(err, failed) // not on disk, so not so: later again
	}
	q.postpone(j, false, err)
	q.transition(j, evBackOff, nil) //nolint:errcheck // see above
}

// postpone sets the time of the next attempt, or of the next clean-up. It counts
// monotonic time, so that a clock that is set neither hastens nor loses it. When a
// person has just stopped the job, there is nothing to postpone: what comes next
// was asked for, and must not wait for a failure of before.
func (q *Queue) postpone(j *job, cleaning bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.state == Paused || (j.state == Canceled) != cleaning {
		return
	}
	delay := j.retry.after()
	j.retryAt, j.lastErr = time.Now().Add(delay), err
	time.AfterFunc(delay, q.wake)
	q.cfg.Log.Info("trying again later", "job", j.id, "delay", delay, "error", err)
	q.tell(j)
}

// cleanUp removes from the server, then from this disk, what a canceled job left.
func (q *Queue) cleanUp(ctx context.Context, j *job) {
	var err error
	for n, it := range j.items {
		if it.rec.Phase == phaseNew {
			continue
		}
		var b Backend
		if b, err = q.cfg.Backend(j.destination); err == nil {
			err = q.abort(ctx, b, j, n)
		}
		if err != nil {
			break
		}
	}
	switch {
	case err == nil:
		q.deleteFiles(j)
	case ctx.Err() == nil:
		q.postpone(j, true, fmt.Errorf("canceled; whatever may be left on the server could not be removed yet: %w", err))
	}
}

// abort removes an item from the server and notes it.
func (q *Queue) abort(ctx context.Context, b Backend, j *job, n int) error {
	it := j.items[n]
	call, stop := context.WithTimeout(ctx, q.cfg.Stall)
	defer stop()
	if err := b.Abort(call, it.rec.Object, it.rec.Handle); err != nil && !errors.Is(err, ErrGone) {
		return err
	}
	err := q.save(j, func(r *itemRecord) { r.Phase, r.Handle, r.Link = phaseNew, "", "" }, n)
	if err == nil {
		q.setDone(j, it, 0)
	}
	return err
}

// save makes a change of items durable. Only the run of the job calls it, for
// each item one goroutine at a time.
func (q *Queue) save(j *job, edit func(*itemRecord), numbers ...int) error {
	recs := make([]itemRecord, len(numbers))
	for i, n := range numbers {
		recs[i] = j.items[n].rec
		edit(&recs[i])
	}
	put := func(tx *bbolt.Tx) error {
		for i, n := range numbers {
			if err := putItem(tx, j.id, n, recs[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return q.store.update(put, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		for i, n := range numbers {
			j.items[n].rec = recs[i]
		}
		q.tell(j)
	})
}

// deleteFiles deletes what a job that is over has on this disk.
func (q *Queue) deleteFiles(j *job) {
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		j.files, j.lastErr, j.retryAt = false, nil, time.Time{}
		q.tell(j)
	}()
	for _, it := range j.items {
		os.Remove(q.store.progress(it.rec.Object.ID))
		if it.rec.spooled() {
			os.Remove(q.store.spool(it.rec.Object.ID)) // else the next start sweeps it
		}
	}
}

// prune forgets the oldest jobs that are over, a few at a time. Failed ones stay:
// somebody may still want to retry them.
func (q *Queue) prune() {
	over := q.surplus()
	if len(over) == 0 {
		return
	}
	gone := make(map[*job]bool, len(over))
	for _, j := range over {
		gone[j] = true
	}
	err := q.store.update(func(tx *bbolt.Tx) error {
		for _, j := range over {
			if err := deleteJob(tx, j.id, len(j.items)); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.order = slices.DeleteFunc(q.order, func(j *job) bool { return gone[j] })
		for _, j := range over {
			delete(q.jobs, j.id)
			q.tell(j)
		}
	})
	if err != nil { // the disk is full, say: at the next occasion then
		for _, j := range over {
			q.unclaim(j, j.run)
		}
	}
}

// surplus answers and claims the oldest jobs beyond the history, once they are
// worth a look through all jobs.
func (q *Queue) surplus() []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	var over []*job
	for _, j := range q.order {
		if j.run == nil && (j.state == Done || j.state == Canceled && !j.leftovers()) {
			over = append(over, j)
		}
	}
	if len(over) <= q.cfg.History+q.cfg.History/16 {
		return nil
	}
	over = over[:len(over)-q.cfg.History]
	for _, j := range over {
		j.run = &run{cancel: func() {}, ended: make(chan struct{})} // no Retry from now on
	}
	return over
}
