package control

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"
)

// Job is a transfer as programs see it. Sizes are bytes, times RFC 3339.
type Job struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	State       string    `json:"state"`
	Destination string    `json:"destination"`
	BytesDone   int64     `json:"bytes_done"`
	BytesTotal  int64     `json:"bytes_total"`
	BytesResent int64     `json:"bytes_resent"`
	Rate        float64   `json:"rate_bytes_per_second"`
	Error       string    `json:"error"`
	ErrorCode   Code      `json:"error_code,omitempty"` // CodeRefused: failed because of its credentials or the host key
	Created     time.Time `json:"created"`
	Links       []string  `json:"links"`
	Items       []Item    `json:"items"`
}

// Item is one file of a job or of a package that is still being collected.
type Item struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Path      string `json:"path,omitempty"`
	BytesDone int64  `json:"bytes_done"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
	Link      string `json:"link"`
}

// Package is a set of items not yet accepted.
type Package struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Destination string `json:"destination"`
	Items       []Item `json:"items"`
}

// NewPackage asks for an empty package. An empty Destination is the default one.
type NewPackage struct {
	Name        string `json:"name"`
	Destination string `json:"destination"`
}

// AddFile adds a file that the controller can read by its absolute path.
type AddFile struct {
	Path string `json:"path"`
	Name string `json:"name,omitempty"`
}

// Select names jobs for a command: some by ID, or all of them.
type Select struct {
	IDs []string `json:"ids,omitempty"`
	All bool     `json:"all,omitempty"`
}

// Filter says which jobs to list; its zero value means all of them. Those that fit
// are listed in the order of their acceptance.
type Filter struct {
	IDs    []string // only these
	States []string // only those in one of these states
	Before string   // only those accepted before the job of this ID: the next page
	Limit  int      // only the newest of them, at most this many; 0 is no limit
}

// Outcome is what a command did to one job. Error is "" on success.
type Outcome struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Error string `json:"error"`
}

// The kinds of [Event].
const (
	EventJob      = "job"      // a job is new or has changed
	EventRemoved  = "removed"  // a job is no longer known
	EventReady    = "ready"    // every known job has been told
	EventDraining = "draining" // the controller is ending
	EventLost     = "lost"     // [Client.Watch] only: no controller answers; it keeps trying
)

// Event is one line of the watch stream. The stream opens with one "job" event
// for every known job and then a "ready" event; changes follow as they happen.
// Changes of one job that a slow reader has not taken yet become one event.
type Event struct {
	Type string `json:"type"`
	Job  *Job   `json:"job,omitempty"`
	ID   string `json:"id,omitempty"` // of a removed job
}

// Destination is where packages can go. Secrets are never part of it.
type Destination struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Default bool   `json:"default"`
}

// JobList, OutcomeList and DestinationList are what the calls that answer
// several things answer: objects, so that they can gain fields.
type (
	// JobList is every job the controller knows, oldest first.
	JobList struct {
		Jobs []Job `json:"jobs"`
	}
	// OutcomeList has one outcome for every selected job.
	OutcomeList struct {
		Outcomes []Outcome `json:"outcomes"`
	}
	// DestinationList is every configured destination.
	DestinationList struct {
		Destinations []Destination `json:"destinations"`
	}
)

// MonitorAccess lets a browser in, once. The token is a secret: it belongs into
// a file that only the user can read, never into an argument list.
type MonitorAccess struct {
	URL     string    `json:"url"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// String is safe to log: it has no token.
func (a MonitorAccess) String() string { return a.URL }

// GoString keeps the token out of %#v too.
func (a MonitorAccess) GoString() string { return fmt.Sprintf("control.MonitorAccess{URL:%q}", a.URL) }

// Carrier moves the bytes of an item to the controller without passing them
// through this API: body is read to its end and handed to the named service of
// the engine together with header; reply is the service's answer. *ipc.Client
// is one.
type Carrier interface {
	Carry(ctx context.Context, service string, header []byte, body io.Reader) (reply []byte, err error)
}

// Verb is a command on jobs.
type Verb string

// The commands on jobs.
const (
	Pause  Verb = "pause"
	Resume Verb = "resume"
	Cancel Verb = "cancel"
	Retry  Verb = "retry"
)

// Service is what the server needs of the controller. Methods may be called
// concurrently. Errors that are an [*Error] reach the client with their code,
// message and next step; any other error reaches it as an internal one.
type Service interface {
	Status(ctx context.Context) (Status, error)
	Jobs
	Packages
	Destinations
	// Quit asks the controller to drain and end; it returns at once.
	Quit(ctx context.Context) error
}

// Jobs are the accepted transfers.
type Jobs interface {
	List(ctx context.Context, f Filter) ([]Job, error)
	Do(ctx context.Context, v Verb, s Select) ([]Outcome, error)
	Watch(ctx context.Context) iter.Seq[Event] // ends with ctx or with the controller
}

// Packages are what is being collected.
type Packages interface {
	New(ctx context.Context, p NewPackage) (Package, error)
	AddFile(ctx context.Context, id string, f AddFile) (Item, error)
	RemoveItem(ctx context.Context, id, item string) error
	Package(ctx context.Context, id string) (Package, error)
	// Commit accepts the package durably. Asked again after it succeeded, as a
	// client that lost the answer does, it answers the same job.
	Commit(ctx context.Context, id string) (Job, error)
	Discard(ctx context.Context, id string) error
}

// Destinations are the configured targets.
type Destinations interface {
	Destinations(ctx context.Context) ([]Destination, error)
	TestDestination(ctx context.Context, name string) error
}
