package transfer

import (
	"context"
	"time"
)

// lookTime is how long a server may take to say what it holds of a paused item.
const lookTime = 10 * time.Second

// confirm asks the server how much it holds of a job that was just paused: more
// was handed over than arrived, and what a person sees must be true while nothing
// moves. It is part of the job's run, and nobody waits for it: see asking.
func (q *Queue) confirm(j *job) {
	ctx, stop := q.asking(j)
	if ctx == nil {
		return
	}
	defer stop()
	if b, err := q.cfg.Backend(j.destination); err == nil {
		for n := range j.items {
			q.look(ctx, j, n, b)
		}
	}
	q.takeBack(j)
}

// asking turns the run of a paused job into one that asks: from now on Resume and
// Cancel end it. It answers nil when the job is not paused any more.
func (q *Queue) asking(j *job) (context.Context, context.CancelFunc) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.state != Paused || j.run == nil {
		return nil, nil
	}
	ctx, stop := context.WithCancel(q.ctx)
	j.run.cancel, j.run.asking = stop, true
	return ctx, stop
}

// look asks about one item. What cannot be learned stays unconfirmed.
func (q *Queue) look(ctx context.Context, j *job, n int, b Backend) {
	it := j.items[n]
	if it.rec.Phase != phaseOpen || it.done == it.confirmed {
		return
	}
	rec, err := openProgress(q.store.progress(it.rec.Object.ID))
	if err != nil {
		return
	}
	defer rec.close()
	m := rec.last()
	call, stop := context.WithTimeout(ctx, lookTime)
	u, err := b.Open(call, it.rec.Object, it.rec.Handle, m.offset)
	stop() // nothing is to be sent: Close only releases
	if err != nil {
		return
	}
	m.confirmed = max(0, min(u.Offset(), m.offset))
	u.Close()
	if rec.add(m) == nil {
		q.setDone(j, it, m.confirmed)
	}
}
