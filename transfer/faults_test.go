package transfer

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// bubble lets tests of faults run in virtual time: synctest makes
// every wait free.
func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

// cutting breaks the connection after every so many writes; it keeps half of what
// the broken one was given.
func cutting(every int64) func(context.Context, *part, []byte) (int, error) {
	var n atomic.Int64
	return func(_ context.Context, _ *part, b []byte) (int, error) {
		if n.Add(1)%every == 0 {
			return len(b) / 2, errors.New("connection reset")
		}
		return len(b), nil
	}
}

func TestResumeAfterCuts(t *testing.T) {
	for name, edit := range map[string]func(*server){
		"rewinding": func(*server) {},
		"stiff":     func(s *server) { s.stiff = true },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer()
				edit(s)
				s.onWrite = cutting(13)
				q := open(t, t.TempDir(), mem{s})
				data := random(20 << 20)
				done := awaitDone(t, q, submit(t, q, data).ID)
				wantFile(t, s, done.Items[0], data)
				again := s.written - int64(len(data))
				if again > 6*pieceSize || done.Items[0].Resent < again {
					t.Errorf("%d bytes were sent again, the item says %d", again, done.Items[0].Resent)
				}
				if s.begun != 1 {
					t.Errorf("begun %d times", s.begun)
				}
			})
		})
	}
}

// TestForgetful: a server that lost what it had acknowledged, all of it or its
// last bytes, or that knows nothing any more.
func TestForgetful(t *testing.T) {
	for name, forget := range map[string]func(s *server, p *part){
		"everything": func(_ *server, p *part) { p.data = nil },
		"the tail":   func(_ *server, p *part) { p.data = p.data[:max(0, len(p.data)-3<<20)] },
		"the handle": func(s *server, _ *part) { clear(s.parts) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer()
				var once atomic.Bool
				s.onWrite = func(_ context.Context, p *part, b []byte) (int, error) {
					if len(p.data) >= 7<<20 && once.CompareAndSwap(false, true) {
						s.set(func(s *server) { forget(s, p) })
						return 0, errors.New("connection reset")
					}
					return len(b), nil
				}
				q := open(t, t.TempDir(), hashing{mem{s}})
				data := random(10 << 20)
				done := awaitDone(t, q, submit(t, q, data).ID)
				wantFile(t, s, done.Items[0], data)
				if want := map[bool]int{true: 2, false: 1}[name == "the handle"]; s.begun != want {
					t.Errorf("begun %d times, want %d", s.begun, want)
				}
			})
		})
	}
}

// TestForeignPrefix: what the server holds under the handle is not ours. It must
// never become part of the file, whether the server hashes or not.
func TestForeignPrefix(t *testing.T) {
	for name, b := range map[string]func(*server) Backend{
		"read back": func(s *server) Backend { return mem{s} },
		"hashing":   func(s *server) Backend { return hashing{mem{s}} },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer()
				var once atomic.Bool
				s.onWrite = func(_ context.Context, p *part, b []byte) (int, error) {
					if len(p.data) >= 3<<20 && once.CompareAndSwap(false, true) {
						s.set(func(*server) { clear(p.data) })
						return 0, errors.New("connection reset")
					}
					return len(b), nil
				}
				q := open(t, t.TempDir(), b(s))
				data := random(5 << 20)
				done := awaitDone(t, q, submit(t, q, data).ID)
				wantFile(t, s, done.Items[0], data)
				if s.begun != 2 || s.written > 8<<20+slice {
					t.Errorf("begun %d times, %d bytes written: some went after a foreign prefix", s.begun, s.written)
				}
			})
		})
	}
}

// TestWrongOffsets: offsets that cannot be are not believed.
func TestWrongOffsets(t *testing.T) {
	for name, lie := range map[string]func(p *part) int64{
		"negative":        func(*part) int64 { return -1 },
		"beyond the size": func(*part) int64 { return 1 << 40 },
		"complete":        func(p *part) int64 { return p.object.Size },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			s.offset = lie
			q := open(t, t.TempDir(), mem{s})
			j := await(t, q, submit(t, q, random(100)).ID, in(Failed))
			if len(s.files) != 0 || !strings.Contains(j.Error, "retry") {
				t.Errorf("%d files, error %q", len(s.files), j.Error)
			}
		})
	}
}

func TestMismatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer()
		var damage atomic.Int64
		damage.Store(2)
		s.onWrite = func(_ context.Context, p *part, b []byte) (int, error) {
			if len(p.data) == 1<<20 && damage.Add(-1) >= 0 {
				s.set(func(*server) { p.data[77] ^= 1 }) // beyond the tail that is read back
			}
			return len(b), nil
		}
		q := open(t, t.TempDir(), mem{s})
		data := random(2 << 20)
		j := submit(t, q, data)
		done := awaitDone(t, q, j.ID)
		wantFile(t, s, done.Items[0], data)
		damage.Store(1 << 40)
		j = await(t, q, submit(t, q, data).ID, in(Failed))
		if !strings.Contains(j.Error, "differs") {
			t.Error(j.Error)
		}
		damage.Store(0)
		if err := q.Retry(j.ID); err != nil {
			t.Fatal(err)
		}
		wantFile(t, s, awaitDone(t, q, j.ID).Items[0], data)
	})
}

func TestStall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer()
		var stalls atomic.Int64
		s.onWrite = func(ctx context.Context, p *part, b []byte) (int, error) {
			if len(p.data) == 1<<20 && stalls.Add(1) <= 2 {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return len(b), nil
		}
		q := open(t, t.TempDir(), mem{s})
		data := random(2 << 20)
		j := submit(t, q, data)
		got := await(t, q, j.ID, func(j Job) bool { return j.Error != "" })
		if got.State == Failed || !strings.Contains(got.Error, "accepted nothing for 2m0s") || got.RetryAt.IsZero() {
			t.Errorf("%s, %q, retry at %v", got.State, got.Error, got.RetryAt)
		}
		wantFile(t, s, awaitDone(t, q, j.ID).Items[0], data)
	})
}

// TestBackOff: a server that is down for a day is asked ever more rarely, and
// soon after it is back the job is done. The waits are jittered.
func TestBackOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer()
		var asked []time.Time
		start := time.Now()
		s.onBegin = func(Object) error {
			asked = append(asked, time.Now())
			if time.Since(start) < 24*time.Hour {
				return errors.New("no route to host")
			}
			return nil
		}
		q := open(t, t.TempDir(), mem{s})
		j := submit(t, q, random(10))
		awaitDone(t, q, j.ID)
		if n := len(asked); n < 24*60/8 || n > 24*60/2 {
			t.Errorf("asked %d times in a day", n)
		}
		if first := asked[1].Sub(asked[0]); first < time.Second/2 || first > 3*time.Second/2 {
			t.Errorf("first wait was %v", first)
		}
		waits := map[time.Duration]int{}
		for i := 1; i < len(asked); i++ {
			wait := asked[i].Sub(asked[i-1])
			waits[wait]++
			if wait > 450*time.Second {
				t.Errorf("waited %v", wait)
			}
		}
		if len(waits) < len(asked)/2 {
			t.Errorf("only %d different waits of %d: no jitter", len(waits), len(asked))
		}
	})
}

// TestWaitingSays: a job that waits says why, until when, and what would help.
func TestWaitingSays(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	full := advise(ErrNoSpace, nil, "the disk is full. Free some space.")
	for _, c := range []struct {
		name, head, tail string
		cause            error
		cancel           bool
	}{
		{"refused", "not delivered yet: dial tcp: connection refused. It is tried again by itself at ", "; see that the server runs and is reachable, or cancel.", refused, false},
		{"full", "not delivered yet: the disk is full. Free some space. It is tried again by itself at ", "; or cancel.", full, false},
		{"canceled", "canceled; whatever may be left on the server could not be removed yet: dial tcp: connection refused. It is tried again by itself at ", "; see that the server runs and is reachable.", refused, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer()
				s.onBegin = func(Object) error { return c.cause }
				s.onAbort = s.onBegin
				q := open(t, t.TempDir(), mem{s})
				id := submit(t, q, random(10)).ID
				waits := func(j Job) bool { return j.Error != "" && j.RetryAt.After(time.Now()) }
				j := await(t, q, id, waits)
				if c.cancel {
					if err := q.Cancel(id); err != nil {
						t.Fatal(err)
					}
					j = await(t, q, id, waits)
				}
				if want := c.head + j.RetryAt.Format(time.TimeOnly) + c.tail; j.Error != want {
					t.Errorf("%q, want %q", j.Error, want)
				}
			})
		})
	}
}

// TestProgressOfNothing: what was handed over and never confirmed is no progress
// once the attempt has failed.
func TestProgressOfNothing(t *testing.T) {
	for name, class := range map[string]error{"waits": nil, "fails": ErrPermanent} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				q := open(t, t.TempDir(), dropping{mem{newServer()}, class})
				id := submit(t, q, random(3<<20)).ID
				j := await(t, q, id, func(j Job) bool { return j.Error != "" && (j.State == Queued || j.State == Failed) })
				if j.BytesDone() != 0 || (j.State == Failed) != (class != nil) {
					t.Errorf("%s with %d bytes done: %s", j.State, j.BytesDone(), j.Error)
				}
			})
		})
	}
}

// dropping takes every byte, as a socket does, and keeps none.
type dropping struct {
	mem
	class error
}

func (d dropping) Open(ctx context.Context, o Object, h Handle, limit int64) (Upload, error) {
	u, err := d.mem.Open(ctx, o, h, limit)
	return dropped{u, d.class}, err
}

type dropped struct {
	Upload
	class error
}

func (d dropped) Write(b []byte) (int, error) { return len(b), nil }
func (d dropped) Close() error                { return errors.Join(errors.New("EOF"), d.class) }

// TestRetryNow: a person who resumes does not wait for the back-off.
func TestRetryNow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer()
		down := true
		s.onBegin = func(Object) error {
			if down {
				return errors.New("down")
			}
			return nil
		}
		q := open(t, t.TempDir(), mem{s})
		j := submit(t, q, random(10))
		time.Sleep(time.Hour)
		waiting, _ := q.Job(j.ID)
		if waiting.State != Queued || waiting.Error == "" || time.Until(waiting.RetryAt) < 0 {
			t.Fatalf("%+v", waiting)
		}
		s.set(func(*server) { down = false })
		before := time.Now()
		if err := errors.Join(q.Pause(j.ID), q.Resume(j.ID)); err != nil {
			t.Fatal(err)
		}
		awaitDone(t, q, j.ID)
		if took := time.Since(before); took > time.Second {
			t.Errorf("went on after %v", took)
		}
	})
}

func TestPermanentFailures(t *testing.T) {
	for name, class := range map[string]error{
		"permanent": ErrPermanent, "unauthorized": ErrUnauthorized, "exists": ErrExists,
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			s.onCommit = func(Object) error { return advise(class, nil, "no. Do something.") }
			q := open(t, t.TempDir(), mem{s})
			data := random(10)
			j := await(t, q, submit(t, q, data).ID, in(Failed))
			if j.Error != "no. Do something." || j.Finished.IsZero() {
				t.Errorf("%+v", j)
			}
			s.set(func(s *server) { s.onCommit = nil })
			if err := q.Retry(j.ID); err != nil {
				t.Fatal(err)
			}
			j = awaitDone(t, q, j.ID)
			wantFile(t, s, j.Items[0], data)
			if s.begun != 1 {
				t.Error("what was proved was sent again")
			}
		})
	}
}

// blind offers no proof.
type blind struct{ Backend }

func TestNoProof(t *testing.T) {
	s := newServer()
	q := open(t, t.TempDir(), blind{mem{s}})
	j := await(t, q, submit(t, q, random(10)).ID, in(Failed))
	if s.begun != 0 || !strings.Contains(j.Error, "proved") {
		t.Errorf("begun %d times: %s", s.begun, j.Error)
	}
}

func TestLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer()
		q := open(t, t.TempDir(), mem{s}, func(c *Config) { c.BytesPerSecond = 1 << 20 })
		start := time.Now()
		a, b := submit(t, q, random(5<<20)), submit(t, q, random(5<<20))
		awaitDone(t, q, a.ID)
		awaitDone(t, q, b.ID)
		if took := time.Since(start); took < 9900*time.Millisecond || took > 10200*time.Millisecond {
			t.Errorf("10 MiB at 1 MiB/s took %v", took)
		}
		q.SetLimit(0)
		start = time.Now()
		awaitDone(t, q, submit(t, q, random(5<<20)).ID)
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("without a limit it took %v", took)
		}
	})
}

func TestRateIsSmooth(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer()
		q := open(t, t.TempDir(), mem{s}, func(c *Config) { c.BytesPerSecond = 1 << 20 })
		j := submit(t, q, random(30<<20))
		time.Sleep(20 * time.Second)
		got, _ := q.Job(j.ID)
		if got.Rate < 0.9*(1<<20) || got.Rate > 1.1*(1<<20) {
			t.Errorf("rate is %.0f", got.Rate)
		}
		if err := q.Pause(j.ID); err != nil {
			t.Fatal(err)
		}
		if got, _ := q.Job(j.ID); got.Rate != 0 {
			t.Errorf("rate of a paused job is %.0f", got.Rate)
		}
	})
}

// TestSources: a source that is not what was accepted fails the job with the
// reason; retry sends it as it is then.
func TestSources(t *testing.T) {
	old := time.Now().Add(-time.Hour)
	for want, spoil := range map[string]func(path string) error{
		"does not exist": os.Remove,
		"has grown":      func(p string) error { return os.WriteFile(p, random(200), 0o600) },
		"become shorter": func(p string) error { return os.Truncate(p, 50) },
		"was written to": func(p string) error { return os.Chtimes(p, old, old) },
		"replaced by another file": func(p string) error {
			return errors.Join(os.WriteFile(p+"2", random(100), 0o600), os.Rename(p+"2", p))
		},
		"is a directory": func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
	} {
		t.Run(want, func(t *testing.T) {
			s := newServer()
			refuse := errors.New("not yet")
			s.onBegin = func(Object) error { return refuse }
			q := open(t, t.TempDir(), mem{s})
			path := writeFile(t, "a", random(100))
			p, err := q.NewPackage("", "d")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.AddFile(t.Context(), path, ""); err != nil {
				t.Fatal(err)
			}
			j, err := p.Commit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			await(t, q, j.ID, func(j Job) bool { return j.Error != "" })
			if err := errors.Join(q.Pause(j.ID), spoil(path)); err != nil {
				t.Fatal(err)
			}
			s.set(func(s *server) { s.onBegin = nil })
			if err := q.Resume(j.ID); err != nil {
				t.Fatal(err)
			}
			failed := await(t, q, j.ID, in(Failed))
			if !strings.Contains(failed.Error, want) || !strings.Contains(failed.Error, path) || s.begun != 0 {
				t.Errorf("error is %q, begun %d times", failed.Error, s.begun)
			}
			fresh := random(123)
			if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, fresh, 0o600), q.Retry(j.ID)); err != nil {
				t.Fatal(err)
			}
			done := awaitDone(t, q, j.ID)
			wantFile(t, s, done.Items[0], fresh)
		})
	}
}

// TestSourceChangesUnderWay: the change comes between two pieces.
func TestSourceChangesUnderWay(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"shorter": func(p string) error { return os.Truncate(p, 3<<20) },
		"longer":  func(p string) error { return os.Truncate(p, 30<<20) },
		"touched": func(p string) error { return os.Chtimes(p, time.Unix(1, 0), time.Unix(1, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			path := writeFile(t, "a", random(10<<20))
			var once atomic.Bool
			s.onWrite = func(_ context.Context, p *part, b []byte) (int, error) {
				if len(p.data) >= 1<<20 && once.CompareAndSwap(false, true) {
					if err := spoil(path); err != nil {
						t.Error(err)
					}
				}
				return len(b), nil
			}
			q := open(t, t.TempDir(), mem{s})
			p, _ := q.NewPackage("", "d")
			if _, err := p.AddFile(t.Context(), path, ""); err != nil {
				t.Fatal(err)
			}
			j, err := p.Commit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			j = await(t, q, j.ID, in(Failed))
			if !strings.Contains(j.Error, "after it was added") || len(s.files) != 0 {
				t.Errorf("%d files, %q", len(s.files), j.Error)
			}
			if err := q.Retry(j.ID); err != nil {
				t.Fatal(err)
			}
			now, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, s, awaitDone(t, q, j.ID).Items[0], now)
		})
	}
}

// TestOneBadSource: the other items of the job are delivered all the same.
func TestOneBadSource(t *testing.T) {
	s := newServer()
	q := open(t, t.TempDir(), mem{s}, func(c *Config) { c.Concurrency = 2 })
	p, _ := q.NewPackage("", "d")
	var paths []string
	for range 10 {
		paths = append(paths, writeFile(t, "f", random(1000)))
		if _, err := p.AddFile(t.Context(), paths[len(paths)-1], ""); err != nil {
			t.Fatal(err)
		}
	}
	os.Remove(paths[3])
	j, err := p.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	j = await(t, q, j.ID, in(Failed))
	if len(s.files) != 9 || !strings.Contains(j.Error, paths[3]) {
		t.Errorf("%d files; %s", len(s.files), j.Error)
	}
}

func TestDamagedSpool(t *testing.T) {
	s := newServer()
	refuse := errors.New("not yet")
	s.onBegin = func(Object) error { return refuse }
	q := open(t, t.TempDir(), mem{s})
	p, _ := q.NewPackage("x", "d")
	it, err := p.AddReader(t.Context(), "m", bytes.NewReader(random(100)))
	if err != nil {
		t.Fatal(err)
	}
	j, err := p.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	await(t, q, j.ID, func(j Job) bool { return j.Error != "" })
	if err := errors.Join(q.Pause(j.ID), os.WriteFile(q.store.spool(it.ID), random(100), 0o600)); err != nil {
		t.Fatal(err)
	}
	s.set(func(s *server) { s.onBegin = nil })
	if err := q.Resume(j.ID); err != nil {
		t.Fatal(err)
	}
	j = await(t, q, j.ID, in(Failed))
	if !strings.Contains(j.Error, "have changed on this disk") || len(s.files) != 0 {
		t.Error(j.Error)
	}
}
