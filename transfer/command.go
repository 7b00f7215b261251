package transfer

import (
	"errors"
	"fmt"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// Pause stops a job until Resume. The wish is durable when Pause answers; bytes
// that are on their way may still arrive.
func (q *Queue) Pause(id string) error { return q.command(id, evPause, nil) }

// Resume lets a paused job go on.
func (q *Queue) Resume(id string) error { return q.command(id, evResume, nil) }

// Cancel gives a job up. What it left on the server is removed in the
// background, for as long as that takes, across restarts.
func (q *Queue) Cancel(id string) error {
	return q.command(id, evCancel, func(rec *jobRecord) { rec.Finished, rec.Error = time.Now().UTC(), "" })
}

// command applies a person's wish, durably, and stops what runs against it.
func (q *Queue) command(id string, e event, edit func(*jobRecord)) error {
	j, err := q.find(id)
	if err != nil {
		return err
	}
	if err := q.transition(j, e, edit); err != nil {
		return err
	}
	q.mu.Lock()
	if j.run != nil && j.run.against(e) {
		j.run.cancel()
	}
	j.retry.reset()
	j.retryAt, j.lastErr = time.Time{}, nil
	q.tell(j)
	q.mu.Unlock()
	q.wake()
	return nil
}

// against reports whether a run has to end because of a command.
func (r *run) against(e event) bool {
	switch e {
	case evPause:
		return !r.asking
	case evResume:
		return r.asking
	}
	return e == evCancel
}

func (q *Queue) find(id string) (*job, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.draining {
		return nil, ErrDraining
	}
	if j, ok := q.jobs[id]; ok {
		return j, nil
	}
	return nil, noJob(id)
}

func noJob(id string) error {
	return advise(ErrNotFound, nil, "there is no job %s. The list shows which there are.", id)
}

// transition moves a job along the table. What changes durably is on the disk
// before memory says so; on an error nothing has changed. edit may be nil.
func (q *Queue) transition(j *job, e event, edit func(*jobRecord)) error {
	j.write.Lock()
	defer j.write.Unlock()
	q.mu.Lock()
	rec, from := j.rec, j.state
	q.mu.Unlock()
	to, ok := next(from, e)
	if !ok {
		if repeated(from, e) {
			return nil
		}
		return &StateError{rec.ID, from, string(e)}
	}
	rec.State = to.durable()
	if edit != nil {
		edit(&rec)
	}
	apply := func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		j.rec, j.state = rec, to
		q.tell(j)
	}
	if rec == j.rec {
		apply()
		return nil
	}
	return q.store.update(func(tx *bbolt.Tx) error { return putJob(tx, rec) }, apply)
}

// Retry sends a failed or canceled job again, from where it can go on. Source
// files are taken as they are now.
func (q *Queue) Retry(id string) error {
	j, err := q.find(id)
	if err != nil {
		return err
	}
	if state := q.state(j); state != Failed && state != Canceled {
		return &StateError{id, state, string(evRetry)}
	}
	release, err := q.claim(j)
	if err != nil {
		return err
	}
	defer release()
	items, err := q.renewed(j)
	if err != nil {
		return err
	}
	return q.commitRetry(j, items)
}

func (q *Queue) state(j *job) State {
	q.mu.Lock()
	defer q.mu.Unlock()
	return j.state
}

// claim stops what runs on a job that has ended, waits until it has stopped, and
// keeps the scheduler away until release.
func (q *Queue) claim(j *job) (release func(), err error) {
	patience := time.NewTimer(5 * time.Second)
	defer patience.Stop()
	for {
		q.mu.Lock()
		r := j.run
		if r == nil {
			mine := &run{cancel: func() {}, ended: make(chan struct{})}
			j.run = mine
			q.mu.Unlock()
			return func() { q.release(j, mine) }, nil
		}
		r.cancel()
		q.mu.Unlock()
		select {
		case <-r.ended:
		case <-patience.C:
			return nil, advise(ErrState, nil, "job %s is still stopping: its server does not let go. Try again in a moment.", j.id)
		}
	}
}

func (q *Queue) release(j *job, r *run) {
	q.unclaim(j, r)
	q.wake()
}

func (q *Queue) unclaim(j *job, r *run) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j.run = nil
	close(r.ended)
}

// renewed answers the items as a new attempt needs them: what a cancel has not
// yet removed from the server is to be removed first, and so is what was sent of
// a file that has changed since. The job is claimed.
func (q *Queue) renewed(j *job) ([]itemRecord, error) {
	canceled := q.state(j) == Canceled
	items := make([]itemRecord, len(j.items))
	for i, it := range j.items {
		rec := it.rec
		if _, err := os.Stat(q.store.spool(rec.Object.ID)); rec.spooled() && err != nil {
			return nil, advise(ErrState, err, "job %s cannot be sent again: the bytes of %q were deleted when it was canceled. Hand them over again.", j.id, rec.Object.Name)
		}
		stale := canceled
		if !rec.spooled() && (canceled || rec.Phase != phaseDone) {
			stale = refresh(&rec) || stale
		}
		if stale && rec.Phase != phaseNew {
			rec.Phase = phaseStale
		}
		items[i] = rec
	}
	return items, nil
}

// refresh takes a source file as it is now and reports whether it has changed.
// One that cannot be read fails in the attempt, with its reason.
func refresh(rec *itemRecord) bool {
	f, now, err := openSource(rec.Path)
	if err != nil {
		return false
	}
	f.Close()
	if now.equal(rec.source()) {
		return false
	}
	rec.Object.Size, rec.Object.ModTime, rec.Identity, rec.SHA256 = now.size, now.modTime, now.identity, ""
	return true
}

func (r itemRecord) source() source {
	return source{r.Object.Size, r.Object.ModTime, r.Identity}
}

// commitRetry stores job and items in one transaction.
func (q *Queue) commitRetry(j *job, items []itemRecord) error {
	j.write.Lock()
	defer j.write.Unlock()
	to, ok := next(j.state, evRetry)
	if !ok {
		return &StateError{j.id, j.state, string(evRetry)}
	}
	st := stored{j.rec, items}
	st.job.State, st.job.Error, st.job.Finished = to, "", time.Time{}
	return q.store.update(func(tx *bbolt.Tx) error { return putStored(tx, st) }, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		j.rec, j.state, j.lastErr, j.retryAt, j.files = st.job, to, nil, time.Time{}, true
		j.retry.reset()
		for i, it := range j.items {
			it.rec = items[i]
			if it.rec.Phase == phaseStale || it.rec.Phase == phaseNew {
				it.done, it.confirmed = 0, 0
			}
		}
		q.tell(j)
	})
}

// Links answers the links of a job's items that are known by now, as the
// destination gives them at this moment.
func (q *Queue) Links(id string) ([]string, error) {
	q.mu.Lock()
	j, ok := q.jobs[id]
	if !ok {
		q.mu.Unlock()
		return nil, noJob(id)
	}
	dest := j.destination
	recs := make([]itemRecord, len(j.items))
	for i, it := range j.items {
		recs[i] = it.rec
	}
	q.mu.Unlock()
	b, err := q.cfg.Backend(dest)
	var links []string
	for _, rec := range recs {
		url := rec.Link
		if err == nil {
			url = link(b, rec)
		}
		if url != "" {
			links = append(links, url)
		}
	}
	if len(links) == 0 && err != nil {
		return nil, errors.Join(fmt.Errorf("destination %q", dest), err)
	}
	return links, nil
}
