package transfer

import "time"

// State is where a job stands.
//
//	           ┌──────── retry ────────┬───────────────┐
//	           ▼                       │               │
//	Commit → queued ──► uploading ──► failed           │
//	           ▲  │       │  │  ▲                      │
//	    resume │  │ pause │  │  └─ hash differs ─┐     │
//	           │  ▼       ▼  ▼                   │     │
//	          paused ◄─────  verifying ──────────┘     │
//	                            │                      │
//	                            ▼                      │
//	                          done                 canceled ◄─ cancel, from any
//	                                                           state but done
//
// A job that fails for a passing reason goes back to queued with a later start;
// failed is reserved for what needs a person.
type State string

// The states of a job.
const (
	Queued    State = "queued"
	Uploading State = "uploading"
	Paused    State = "paused"
	Verifying State = "verifying"
	Done      State = "done"
	Failed    State = "failed"
	Canceled  State = "canceled"
)

// States answers all of them.
func States() []State {
	return []State{Queued, Uploading, Paused, Verifying, Done, Failed, Canceled}
}

// Job is a snapshot of an accepted package. It is a value: changing it changes
// nothing in the queue.
type Job struct {
	ID          string
	Name        string
	Destination string
	State       State
	Created     time.Time
	Finished    time.Time // zero until done, failed or canceled
	Items       []Item
	Rate        float64   // bytes per second, smoothed; 0 unless uploading
	Error       string    // why the last try failed, and what to do; "" when it did not
	Refused     bool      // failed because of its credentials or the host key ([ErrUnauthorized])
	RetryAt     time.Time // when a queued job is tried again; zero when at once
}

// Item is one file of a job.
type Item struct {
	Object
	Path   string // source path; "" when the bytes came from a companion's memory
	Done   int64  // bytes the server is known to hold
	Resent int64  // bytes sent more than once because of resumes
	SHA256 string // hex, "" until known
	Link   string // "" until known
}

// BytesDone is how many bytes of the job the server is known to hold.
func (j Job) BytesDone() (n int64) {
	for _, it := range j.Items {
		n += it.Done
	}
	return n
}

// BytesTotal is the size of all items.
func (j Job) BytesTotal() (n int64) {
	for _, it := range j.Items {
		n += it.Size
	}
	return n
}
