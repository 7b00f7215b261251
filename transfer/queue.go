package transfer

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/time/rate"
)

// Config says how a [Queue] works. Dir and Backend are required.
type Config struct {
	// Dir is the state directory of the user, on a local disk, mode 0700.
	Dir string
	// Key names whose stores to adopt: a valid file name; "default" when empty.
	Key string
	// Backend answers the backend of a destination. It is called often and must
	// be cheap and safe for concurrent use; equal names may share a backend. Its
	// error fails what asked for it, for good when it wraps [ErrPermanent].
	Backend func(destination string) (Backend, error)
	// Concurrency is how many items are uploaded at a time; 4 when zero.
	Concurrency int
	// BytesPerSecond limits all uploads together; no limit when zero.
	BytesPerSecond int64
	// History is how many delivered or canceled jobs are kept; 1000 when zero.
	History int
	// PackageIdle is after how long an untouched package that was never
	// committed is discarded; 24 hours when zero.
	PackageIdle time.Duration
	// Stall is how long a server may take for 256 KiB before the connection is
	// given up and the upload tried again; 2 minutes when zero.
	Stall time.Duration
	// SetAside renames a damaged store and goes on without it, instead of
	// failing. Only a person should ask for it: the jobs in it are lost.
	SetAside bool
	// Log is where the queue says what it does; discarded when nil. Links and
	// handles are never logged.
	Log *slog.Logger

	fault   func() error       // tests: what the disk says at the end of each commit
	syncDir func(string) error // tests: instead of syncDir while a store is made
}

func (c Config) withDefaults() Config {
	set(&c.Key, "default")
	set(&c.Concurrency, 4)
	set(&c.History, 1000)
	set(&c.PackageIdle, 24*time.Hour)
	set(&c.Stall, 2*time.Minute)
	if c.syncDir == nil {
		c.syncDir = syncDir
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Queue holds the jobs of one user and session key and works on them until it
// is drained. Its methods may be called concurrently.
//
// Lock order: job.write, then Queue.mu. Nothing blocks while mu is held.
type Queue struct {
	cfg     Config
	store   *store
	limit   *rate.Limiter
	slots   chan struct{} // one per item being uploaded
	buffers chan []byte
	kick    chan struct{} // the scheduler has something to look at
	ctx     context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup // the scheduler and all runs

	mu       sync.Mutex
	jobs     map[string]*job
	order    []*job // as accepted
	packages map[string]*Package
	watchers map[*watcher]struct{}
	running  int // runs that upload
	aborting int // runs that clean up after a cancel
	sequence uint64
	draining bool
}

// job is an accepted package at work.
type job struct {
	id, destination string // never change

	// write is held while the durable state changes; it guards that change.
	write sync.Mutex

	// The rest is guarded by Queue.mu; rec and state change only under write too.
	rec     jobRecord
	state   State
	items   []*item
	run     *run  // what works on it now, nil when nothing does
	files   bool  // it may have files in the store
	lastErr error // why it waits until retryAt
	retryAt time.Time
	retry   *retrier
	rate    meter
	told    time.Time // when watchers last heard of it
	telling bool      // they will hear of progress at told + tellEvery
}

// item is guarded by Queue.mu. Its record is changed only by the run of its job.
type item struct {
	rec       itemRecord
	done      int64 // handed over, to show progress
	confirmed int64 // of them, what the server has
	resent    int64
	stage     stage
}

// stage is what an item is doing just now.
type stage int

const (
	idle stage = iota
	sending
	proving
)

// run is one goroutine's hold on a job.
type run struct {
	ended chan struct{}

	// Guarded by Queue.mu.
	cancel context.CancelFunc
	asking bool // it only asks what the server holds of a paused job
}

// Open adopts what earlier processes left behind and starts working. ctx bounds
// the opening only. A damaged store is [ErrCorrupt] and stays as it is; a full
// disk is [ErrNoSpace]. End the queue with [Queue.Drain].
func Open(ctx context.Context, cfg Config) (*Queue, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" || cfg.Backend == nil || SafeName(cfg.Key) != cfg.Key {
		return nil, errors.New("transfer: Config needs Dir, Backend and a Key that is a file name")
	}
	h := home{filepath.Join(cfg.Dir, "stores", cfg.Key), cfg.SetAside, cfg.Log, cfg.fault, cfg.syncDir}
	s, jobs, err := h.open(ctx)
	if err != nil {
		return nil, err
	}
	q := &Queue{
		cfg: cfg, store: s, limit: limiter(cfg.BytesPerSecond),
		slots: make(chan struct{}, cfg.Concurrency), kick: make(chan struct{}, 1), buffers: make(chan []byte, 2*cfg.Concurrency),
		jobs: map[string]*job{}, packages: map[string]*Package{}, watchers: map[*watcher]struct{}{},
	}
	q.ctx, q.stop = context.WithCancel(context.Background())
	q.restore(jobs)
	s.everything = q.records
	q.sweep()
	q.work.Add(1)
	go q.schedule()
	q.wake()
	return q, nil
}

// restore brings the stored jobs back, in the order of their acceptance.
func (q *Queue) restore(jobs []stored) {
	sort.Slice(jobs, func(a, b int) bool { return jobs[a].job.Sequence < jobs[b].job.Sequence })
	begun := names(q.store.progress("")) // looked up at once: a long queue must not delay the start
	for _, st := range jobs {
		for _, it := range q.insert(st).items {
			if it.rec.Phase == phaseOpen && begun[it.rec.Object.ID] {
				last := peekProgress(q.store.progress(it.rec.Object.ID))
				it.done, it.confirmed, it.resent = last.confirmed, last.confirmed, last.resent
			}
		}
		q.sequence = max(q.sequence, st.job.Sequence)
	}
}

// names answers what lies in a folder; nothing, if it cannot be read.
func names(dir string) map[string]bool {
	entries, _ := os.ReadDir(dir)
	found := make(map[string]bool, len(entries))
	for _, e := range entries {
		found[e.Name()] = true
	}
	return found
}

func (q *Queue) insert(st stored) *job {
	j := &job{id: st.job.ID, destination: st.job.Destination, rec: st.job, state: st.job.State, retry: newRetrier(), files: st.job.State != Done}
	for _, rec := range st.items {
		it := &item{rec: rec}
		if rec.Phase == phaseVerified || rec.Phase == phaseDone {
			it.done, it.confirmed = rec.Object.Size, rec.Object.Size
		}
		j.items = append(j.items, it)
	}
	q.jobs[st.job.ID] = j
	q.order = append(q.order, j)
	return j
}

// records answers all that was acknowledged.
func (q *Queue) records() []stored {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]stored, len(q.order))
	for i, j := range q.order {
		all[i].job = j.rec
		for _, it := range j.items {
			all[i].items = append(all[i].items, it.rec)
		}
	}
	return all
}

// peekProgress reads the newest mark of a progress record, for display only.
func peekProgress(path string) mark {
	b, err := os.ReadFile(path)
	if err != nil {
		return mark{}
	}
	_, marks := decodeProgress(b)
	return (&progress{marks: marks}).last()
}

// sweep deletes files that belong to no job: packages that were never
// committed, and what finished jobs left behind at a crash.
func (q *Queue) sweep() {
	keep := map[string]bool{}
	for _, j := range q.order {
		for _, it := range j.items {
			keep[it.rec.Object.ID] = j.state != Done
		}
	}
	for _, dir := range []string{q.store.spool(""), q.store.progress("")} {
		for name := range names(dir) { // what is not deleted now is deleted at the next start
			if !keep[name] {
				os.Remove(filepath.Join(dir, name))
			}
		}
	}
}

// accept makes a package a job: when it answers nil the job is on the disk.
func (q *Queue) accept(st stored) (Job, error) {
	q.mu.Lock()
	q.sequence++
	st.job.Sequence = q.sequence
	draining := q.draining
	q.mu.Unlock()
	if draining {
		return Job{}, ErrDraining
	}
	var accepted Job
	err := q.store.update(func(tx *bbolt.Tx) error { return putStored(tx, st) }, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		j := q.insert(st)
		delete(q.packages, st.job.ID)
		accepted = q.snapshot(j)
		q.tell(j)
	})
	q.wake()
	return accepted, err
}

// Job answers one job.
func (q *Queue) Job(id string) (Job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j, ok := q.jobs[id]
	if !ok {
		return Job{}, false
	}
	return q.snapshot(j), true
}

// snapshot copies a job; q.mu is held.
func (q *Queue) snapshot(j *job) Job {
	out := Job{
		ID: j.id, Name: j.rec.Name, Destination: j.destination, State: j.state,
		Created: j.rec.Created, Finished: j.rec.Finished, Error: j.rec.Error, RetryAt: j.retryAt,
		Refused: j.state == Failed && j.rec.Refused,
		Items:   make([]Item, len(j.items)),
	}
	if out.Error == "" && j.lastErr != nil {
		out.Error = waiting(j.lastErr, j.retryAt, j.state)
	}
	if j.state == Uploading {
		out.Rate = j.rate.at(time.Now())
	}
	for i, it := range j.items {
		out.Items[i] = it.rec.item()
		out.Items[i].Done, out.Items[i].Resent = it.done, max(it.resent, it.rec.Resent)
	}
	return out
}

func (r itemRecord) item() Item {
	return Item{Object: r.Object, Path: r.Path, Resent: r.Resent, SHA256: r.SHA256, Link: r.Link}
}

// SetLimit changes the bandwidth limit of all uploads together, in bytes per
// second; 0 removes it. It holds until the queue ends.
func (q *Queue) SetLimit(bytesPerSecond int64) { setLimit(q.limit, bytesPerSecond) }

// Drain ends the queue: it accepts nothing more, stops all uploads where they
// are, and closes the store, which the next controller adopts. It waits for
// running uploads until ctx ends, at most 5 seconds, then closes all the same.
func (q *Queue) Drain(ctx context.Context) error {
	q.mu.Lock()
	again := q.draining
	q.draining = true
	q.tellDraining()
	q.mu.Unlock()
	if again {
		return nil
	}
	q.stop()
	ended := make(chan struct{})
	go func() { q.work.Wait(); close(ended) }()
	patience := time.NewTimer(5 * time.Second)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
		q.cfg.Log.Warn("closing the transfer store although an upload has not ended")
	case <-ctx.Done():
	}
	return q.store.close()
}
