package transfer

import "slices"

// Filter says which jobs to list; its zero value means all of them.
type Filter struct {
	IDs    []string // only these
	States []State  // only those in one of these states
	Before string   // only those accepted before this job: the next page
	Limit  int      // only the newest of them, at most this many; 0 is no limit
}

// Jobs answers all jobs in the order of their acceptance.
func (q *Queue) Jobs() []Job {
	jobs, _ := q.List(Filter{}) // only Before can fail
	return jobs
}

// List answers the jobs that fit, in the order of their acceptance. It costs what
// it answers, and next to nothing for jobs that do not fit. It is [ErrNotFound] when
// the job that Before names is no longer known.
func (q *Queue) List(f Filter) ([]Job, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	order := q.order
	if f.Before != "" {
		end := slices.Index(order, q.jobs[f.Before])
		if end < 0 {
			return nil, noJob(f.Before)
		}
		order = order[:end]
	}
	fit := q.fitting(order, f)
	jobs := make([]Job, len(fit))
	for i, j := range fit {
		jobs[i] = q.snapshot(j)
	}
	return jobs, nil
}

// fitting looks from the newest on, so that a page is found quickly; q.mu is held.
func (q *Queue) fitting(order []*job, f Filter) []*job {
	if f.Limit == 0 && len(f.IDs)+len(f.States) == 0 {
		return order
	}
	var fit []*job
	for _, j := range slices.Backward(order) {
		if f.Limit > 0 && len(fit) == f.Limit {
			break
		}
		if (len(f.IDs) == 0 || slices.Contains(f.IDs, j.id)) && (len(f.States) == 0 || slices.Contains(f.States, j.state)) {
			fit = append(fit, j)
		}
	}
	slices.Reverse(fit)
	return fit
}

// Count answers how many jobs there are in each state.
func (q *Queue) Count() map[State]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := map[State]int{}
	for _, j := range q.order {
		n[j.state]++
	}
	return n
}
