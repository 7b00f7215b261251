package transfer

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestTransitions walks the whole table: only what is drawn above State is
// allowed, and a command that has no effect is either repeated or refused.
func TestTransitions(t *testing.T) {
	drawn := map[State]map[event]State{
		Queued:    {evStart: Uploading, evPause: Paused, evCancel: Canceled},
		Uploading: {evVerify: Verifying, evBackOff: Queued, evFail: Failed, evPause: Paused, evCancel: Canceled},
		Verifying: {evMismatch: Uploading, evBackOff: Queued, evFail: Failed, evFinish: Done, evPause: Paused, evCancel: Canceled},
		Paused:    {evResume: Queued, evCancel: Canceled},
		Failed:    {evRetry: Queued, evCancel: Canceled},
		Canceled:  {evRetry: Queued},
		Done:      {},
	}
	for s, allowed := range drawn {
		for _, e := range []event{evStart, evVerify, evMismatch, evBackOff, evFail, evFinish, evPause, evResume, evCancel, evRetry} {
			to, ok := next(s, e)
			if want, drawn := allowed[e]; ok != drawn || ok && to != want {
				t.Errorf("%s in %s: %s, %v", e, s, to, ok)
			}
			if ok && repeated(s, e) {
				t.Errorf("%s in %s both moves and repeats", e, s)
			}
		}
	}
	if _, ok := next(Queued, "nonsense"); ok {
		t.Error("an unknown event is allowed")
	}
}

// model is what a person knows about a job: the last command acknowledged.
type model struct {
	id    string
	data  [2][]byte
	wants State // Queued stands for: is to be delivered
}

// TestCommands lets random commands, restarts and faults of the server interleave
// and compares with what was acknowledged: a paused job stays paused, a canceled
// one leaves nothing, all others arrive whole.
func TestCommands(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newServer()
		var rnd sync.Mutex
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		s.onWrite = func(ctx context.Context, _ *part, b []byte) (int, error) {
			rnd.Lock()
			defer rnd.Unlock()
			if r.IntN(20) == 0 {
				return r.IntN(len(b) + 1), errors.New("connection reset")
			}
			return len(b), ctx.Err()
		}
		dir := t.TempDir()
		cfg := Config{Dir: dir, Backend: func(string) (Backend, error) { return hashing{mem{s}}, nil }}
		q, err := Open(t.Context(), cfg)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { q.Drain(context.Background()) }() //nolint:errcheck // a failed property ends it twice
		var jobs []*model
		pick := func(rt *rapid.T) *model {
			if len(jobs) == 0 {
				rt.Skip("no job yet")
			}
			return jobs[rapid.IntRange(0, len(jobs)-1).Draw(rt, "job")]
		}
		rt.Repeat(map[string]func(*rapid.T){
			"submit": func(rt *rapid.T) {
				if len(jobs) < 5 {
					jobs = append(jobs, submitModel(t, rt, q))
				}
			},
			"pause":  func(rt *rapid.T) { m := pick(rt); m.did(rt, q, q.Pause(m.id), Paused) },
			"resume": func(rt *rapid.T) { m := pick(rt); m.did(rt, q, q.Resume(m.id), Queued) },
			"cancel": func(rt *rapid.T) { m := pick(rt); m.did(rt, q, q.Cancel(m.id), Canceled) },
			"retry":  func(rt *rapid.T) { m := pick(rt); m.retried(rt, q.Retry(m.id)) },
			"restart": func(rt *rapid.T) {
				if err := q.Drain(context.Background()); err != nil {
					rt.Fatal(err)
				}
				if q, err = Open(t.Context(), cfg); err != nil {
					rt.Fatal(err)
				}
			},
		})
		s.set(func(s *server) { s.onWrite = nil })
		for _, m := range jobs {
			m.check(t, rt, q, s)
		}
	})
}

// submitModel hands over one item by path, and one from memory.
func submitModel(t *testing.T, rt *rapid.T, q *Queue) *model {
	m := &model{wants: Queued}
	p, err := q.NewPackage("", "d")
	if err != nil {
		rt.Fatal(err)
	}
	for i := range m.data {
		m.data[i] = random(rapid.SampledFrom([]int{0, 1, 70_000, pieceSize + 1}).Draw(rt, "size"))
	}
	if _, err := p.AddFile(t.Context(), writeFile(t, "f", m.data[0]), ""); err != nil {
		rt.Fatal(err)
	}
	if _, err := p.AddReader(t.Context(), "m", bytes.NewReader(m.data[1])); err != nil {
		rt.Fatal(err)
	}
	j, err := p.Commit(t.Context())
	if err != nil {
		rt.Fatal(err)
	}
	m.id = j.ID
	return m
}

// did notes a command. It may be refused only in a state that refuses it.
func (m *model) did(rt *rapid.T, q *Queue, err error, wants State) {
	j, ok := q.Job(m.id)
	switch {
	case !ok:
		rt.Fatalf("job %s is lost", m.id)
	case err == nil:
		m.wants = wants
		if wants == Paused && j.State != Paused || wants == Canceled && j.State != Canceled {
			rt.Fatalf("acknowledged, and then the job is %s", j.State)
		}
	case errors.Is(err, ErrState) && j.State == Done && m.wants == Queued:
		m.wants = Done
	case errors.Is(err, ErrState) && (j.State == Done || m.wants == Canceled):
	default:
		rt.Fatalf("%s job refused: %v", j.State, err)
	}
}

// retried: only a canceled job can be retried, unless its bytes are gone already.
func (m *model) retried(rt *rapid.T, err error) {
	switch {
	case err == nil && m.wants == Canceled:
		m.wants = Queued
	case errors.Is(err, ErrState):
	default:
		rt.Fatalf("retry: %v", err)
	}
}

func (m *model) check(t *testing.T, rt *rapid.T, q *Queue, s *server) {
	switch m.wants {
	case Paused:
		if j, _ := q.Job(m.id); j.State != Paused {
			rt.Fatalf("paused job is %s", j.State)
		}
		if err := q.Resume(m.id); err != nil {
			rt.Fatal(err)
		}
	case Canceled:
		j := await(t, q, m.id, func(Job) bool { q.mu.Lock(); defer q.mu.Unlock(); return !q.jobs[m.id].leftovers() })
		for _, it := range j.Items {
			if len(s.held(it.Object, "")) != 0 || j.State != Canceled {
				rt.Fatalf("canceled job is %s and left something", j.State)
			}
		}
		return
	}
	j := await(t, q, m.id, func(j Job) bool {
		if !j.RetryAt.IsZero() { // a person who does not want to wait
			q.Pause(m.id)  //nolint:errcheck // it may be done meanwhile
			q.Resume(m.id) //nolint:errcheck // likewise
		}
		return j.State.final()
	})
	for i, it := range j.Items {
		if got, _ := s.file(it.ID); j.State != Done || !bytes.Equal(got, m.data[i]) {
			rt.Fatalf("job is %s (%s), item %d holds %d bytes of %d", j.State, j.Error, i, len(got), len(m.data[i]))
		}
	}
}
