package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/control"
	"berth/ipc"
	"berth/portshare"
	"berth/session"
	"berth/transfer"
)

// service is [control.Service]: what companions, the command line, the tray and
// the monitor page may ask of the controller.
type service struct {
	session session.Session
	record  *portshare.Record
	engine  *ipc.Engine
	queue   *transfer.Queue
	targets *targets
	started time.Time
	quit    context.CancelFunc
}

func (s *service) Status(context.Context) (control.Status, error) {
	info, err := s.record.Info()
	if err != nil {
		return control.Status{}, err
	}
	st := control.Status{
		PID: os.Getpid(), Port: info.Port, Generation: info.Generation,
		Session: s.session.String(), State: info.State.String(), Version: version,
		Uptime: time.Since(s.started).Seconds(), Jobs: map[string]int{},
	}
	describeEngine(&st, s.engine.Stats())
	for state, n := range s.queue.Count() {
		st.Jobs[string(state)] = n
	}
	return st, nil
}

func (s *service) Quit(context.Context) error {
	s.quit()
	return nil
}

func (s *service) List(_ context.Context, f control.Filter) ([]control.Job, error) {
	filter := transfer.Filter{IDs: f.IDs, Before: f.Before, Limit: f.Limit}
	for _, name := range f.States {
		state := transfer.State(name)
		if !slices.Contains(transfer.States(), state) {
			return nil, usage(fmt.Sprintf("there is no state %q", name), "The states are "+stateNames()+".")
		}
		filter.States = append(filter.States, state)
	}
	jobs, err := s.queue.List(filter)
	if err != nil {
		return nil, apiError(err)
	}
	all := make([]control.Job, len(jobs))
	for i, j := range jobs {
		all[i] = s.job(j)
	}
	return all, nil
}

func stateNames() string {
	var names []string
	for _, s := range transfer.States() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// doAtOnce is how many jobs are commanded at a time: commands that are made
// durable together share the wait for the disk.
const doAtOnce = 32

func (s *service) Do(_ context.Context, v control.Verb, sel control.Select) ([]control.Outcome, error) {
	act := s.action(v)
	if act == nil {
		return nil, usage(fmt.Sprintf("there is no command %q on jobs", v), "")
	}
	ids := sel.IDs
	if sel.All {
		ids = s.applicable(v)
	}
	outcomes := make([]control.Outcome, len(ids))
	room := make(chan struct{}, doAtOnce)
	var wait sync.WaitGroup
	for i, id := range ids {
		room <- struct{}{}
		wait.Go(func() {
			outcomes[i] = s.outcome(id, act(id))
			<-room
		})
	}
	wait.Wait()
	return outcomes, nil
}

func (s *service) action(v control.Verb) func(id string) error {
	switch v {
	case control.Pause:
		return s.queue.Pause
	case control.Resume:
		return s.queue.Resume
	case control.Cancel:
		return s.queue.Cancel
	case control.Retry:
		return s.queue.Retry
	}
	return nil
}

func (s *service) outcome(id string, err error) control.Outcome {
	o := control.Outcome{ID: id}
	if err != nil {
		o.Error = apiError(err).Error()
	}
	if j, ok := s.queue.Job(id); ok {
		o.State = string(j.State)
	}
	return o
}

// applicable are the jobs that --all means: those for which v makes sense.
func (s *service) applicable(v control.Verb) (ids []string) {
	for _, j := range s.queue.Jobs() {
		if applies(v, j.State) {
			ids = append(ids, j.ID)
		}
	}
	return ids
}

func applies(v control.Verb, state transfer.State) bool {
	switch v {
	case control.Pause:
		return state == transfer.Queued || state == transfer.Uploading || state == transfer.Verifying
	case control.Resume:
		return state == transfer.Paused
	case control.Retry:
		return state == transfer.Failed
	case control.Cancel:
		return state != transfer.Done && state != transfer.Canceled
	}
	return false
}

func (s *service) Watch(ctx context.Context) iter.Seq[control.Event] {
	return func(yield func(control.Event) bool) {
		for ev := range s.queue.Watch(ctx) {
			if !yield(s.event(ev)) {
				return
			}
		}
	}
}

func (s *service) Destinations(context.Context) ([]control.Destination, error) {
	c, err := s.targets.config()
	if err != nil {
		return nil, err
	}
	return c.list(s.targets.local.Base()), nil
}

func (s *service) TestDestination(ctx context.Context, name string) error {
	return s.targets.probe(ctx, name)
}

// apiError gives an error of the queue the code by which programs know it. The
// queue's texts already say what to do next.
func apiError(err error) *control.Error {
	if e, ok := errors.AsType[*control.Error](err); ok {
		return e
	}
	return &control.Error{Code: codeOf(err), Message: err.Error(), Cause: err}
}

func codeOf(err error) control.Code {
	switch is := func(class error) bool { return errors.Is(err, class) }; {
	case is(transfer.ErrNotFound), is(fs.ErrNotExist):
		return control.CodeNotFound
	case is(transfer.ErrUnauthorized):
		return control.CodeRefused
	case is(transfer.ErrState), is(transfer.ErrSource):
		return control.CodeConflict
	case is(transfer.ErrEmpty):
		return control.CodeUsage
	case is(transfer.ErrDraining):
		return control.CodeDraining
	case is(transfer.ErrNoSpace), is(ipc.ErrNoMemory):
		return control.CodeNoMemory
	}
	return control.CodeFailed
}

// answer makes the error of a call one of the API.
func answer[T any](v T, err error) (T, error) {
	if err != nil {
		return v, apiError(err)
	}
	return v, nil
}
