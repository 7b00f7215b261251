package transfer

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// leaky takes three pieces, as the buffers on the way to a server do, and loses
// all but the first when the connection is cut.
type leaky struct{ mem }

func (l leaky) Open(ctx context.Context, o Object, h Handle, limit int64) (Upload, error) {
	u, err := l.mem.Open(ctx, o, h, limit)
	if err != nil {
		return nil, err
	}
	return &leak{Upload: u, ctx: ctx}, nil
}

type leak struct {
	Upload
	ctx   context.Context
	taken int
}

func (l *leak) Write(b []byte) (int, error) {
	l.taken += len(b)
	switch {
	case l.taken <= pieceSize:
		return l.Upload.Write(b)
	case l.taken <= 3*pieceSize:
		return len(b), nil
	}
	<-l.ctx.Done()
	return 0, l.ctx.Err()
}

// TestPausedProgressIsConfirmed: what was handed over and did not arrive is no
// progress of a paused job, now and after a restart.
func TestPausedProgressIsConfirmed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, s := t.TempDir(), newServer()
		q := open(t, dir, leaky{mem{s}})
		id := submit(t, q, random(10<<20)).ID
		synctest.Wait()
		if j, _ := q.Job(id); j.BytesDone() != 3*pieceSize {
			t.Fatalf("handed over: %d", j.BytesDone())
		}
		if err := q.Pause(id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if j, _ := q.Job(id); j.BytesDone() != pieceSize || j.State != Paused {
			t.Errorf("%s with %d bytes, the server holds %d", j.State, j.BytesDone(), pieceSize)
		}
		drain(t, q)
		q = open(t, dir, leaky{mem{s}})
		if j, _ := q.Job(id); j.BytesDone() != pieceSize {
			t.Errorf("after a restart: %d bytes, the server holds %d", j.BytesDone(), pieceSize)
		}
	})
}

// TestProgressAfterAKill: a queued job shows what the server said when it was last
// asked, until it is asked again.
func TestProgressAfterAKill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, s := t.TempDir(), newServer()
		q := open(t, dir, leaky{mem{s}})
		id := submit(t, q, random(10<<20)).ID
		synctest.Wait()
		copied := t.TempDir() // what a kill at this moment leaves
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		down := newServer()
		down.onOpen = func(Object, Handle) error { return errors.New("no route to host") }
		next := open(t, copied, mem{down})
		if j, _ := next.Job(id); j.BytesDone() != 0 {
			t.Errorf("%s with %d bytes that nobody has confirmed", j.State, j.BytesDone())
		}
	})
}

// TestResumeDoesNotWaitForAnAnswer: the server that is asked about a paused job
// says nothing; resume goes on at once all the same.
func TestResumeDoesNotWaitForAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var silent atomic.Bool
		s := newServer()
		q := open(t, t.TempDir(), mute{leaky{mem{s}}, &silent})
		data := random(3 << 20)
		id := submit(t, q, append(data, data...)).ID
		synctest.Wait()
		silent.Store(true)
		if err := q.Pause(id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := q.Pause(id); err != nil { // said twice, it changes nothing
			t.Fatal(err)
		}
		silent.Store(false)
		if err := q.Resume(id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if j, _ := q.Job(id); j.State != Uploading {
			t.Errorf("after resume the job is %s", j.State)
		}
	})
}

// mute does not answer Open while it is silent.
type mute struct {
	leaky
	silent *atomic.Bool
}

func (m mute) Open(ctx context.Context, o Object, h Handle, limit int64) (Upload, error) {
	if m.silent.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return m.leaky.Open(ctx, o, h, limit)
}
