package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// random answers n bytes that no other call answers.
func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte([]byte(newID() + "      ")))
	r.Read(b)
	return b
}

func writeFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// submit hands over one file by path and answers the job.
func submit(t testing.TB, q *Queue, data []byte) Job {
	t.Helper()
	p, err := q.NewPackage("", "d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddFile(t.Context(), writeFile(t, "file.bin", data), ""); err != nil {
		t.Fatal(err)
	}
	j, err := p.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func wantFile(t testing.TB, s *server, it Item, data []byte) {
	t.Helper()
	got, ok := s.file(it.ID)
	if !ok || !bytes.Equal(got, data) {
		t.Fatalf("server holds %d bytes (%v) of %q, want the %d that were sent", len(got), ok, it.Name, len(data))
	}
	sum := sha256.Sum256(data)
	if it.SHA256 != hex.EncodeToString(sum[:]) {
		t.Fatalf("SHA256 of %q is %s", it.Name, it.SHA256)
	}
}

func TestDeliver(t *testing.T) {
	for name, b := range map[string]func(*server) Backend{
		"read back": func(s *server) Backend { return mem{s} },
		"hashing":   func(s *server) Backend { return hashing{mem{s}} },
		"declining": func(s *server) Backend { s.noHash = true; return hashing{mem{s}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			q := open(t, t.TempDir(), b(s))
			big, small := random(9<<20+17), random(100)
			p, err := q.NewPackage("", "d")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.AddFile(t.Context(), writeFile(t, "größe 1.bin", big), ""); err != nil {
				t.Fatal(err)
			}
			if _, err := p.AddReader(t.Context(), "mem.txt", bytes.NewReader(small)); err != nil {
				t.Fatal(err)
			}
			if _, err := p.AddReader(t.Context(), "mem.txt", bytes.NewReader(nil)); err != nil {
				t.Fatal(err)
			}
			j, err := p.Commit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if j.Name != "größe 1.bin" || j.Items[0].Link == "" || j.Items[2].Name != "mem (2).txt" {
				t.Errorf("accepted as %+v", j)
			}
			done := awaitDone(t, q, j.ID)
			for i, data := range [][]byte{big, small, nil} {
				wantFile(t, s, done.Items[i], data)
			}
			if again, err := p.Commit(t.Context()); err != nil || again.ID != j.ID {
				t.Errorf("second Commit: %v, %v", again.ID, err)
			}
			if done.BytesDone() != done.BytesTotal() || done.Finished.IsZero() || done.Items[0].Resent != 0 {
				t.Errorf("done as %+v", done)
			}
		})
	}
}

func TestPauseResumeCancel(t *testing.T) {
	s := newServer()
	gate := make(chan struct{}, 100)
	s.onWrite = func(ctx context.Context, _ *part, b []byte) (int, error) {
		select {
		case <-gate:
			return len(b), nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	q := open(t, t.TempDir(), mem{s})
	data := random(6 << 20)
	j := submit(t, q, data)
	for range 9 {
		gate <- struct{}{}
	}
	await(t, q, j.ID, func(j Job) bool { return j.BytesDone() >= 2<<20 })
	if err := q.Pause(j.ID); err != nil {
		t.Fatal(err)
	}
	if got, _ := q.Job(j.ID); got.State != Paused {
		t.Fatalf("state is %s", got.State)
	}
	if err := q.Retry(j.ID); !errors.Is(err, ErrState) {
		t.Errorf("retry of a paused job: %v", err)
	}
	if err := q.Resume(j.ID); err != nil {
		t.Fatal(err)
	}
	close(gate)
	done := awaitDone(t, q, j.ID)
	wantFile(t, s, done.Items[0], data)
	if s.written > int64(len(data))+pieceSize || done.Items[0].Resent > pieceSize {
		t.Errorf("%d bytes were sent, %d said to be sent again, for a file of %d", s.written, done.Items[0].Resent, len(data))
	}
	if err := q.Cancel(j.ID); !errors.Is(err, ErrState) {
		t.Errorf("cancel of a done job: %v", err)
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	s := newServer()
	s.onWrite = func(ctx context.Context, _ *part, _ []byte) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	down := errors.New("server is down")
	s.onAbort = func(Object) error { return down }
	dir := t.TempDir()
	q := open(t, dir, mem{s})
	j := submit(t, q, random(1<<20))
	await(t, q, j.ID, in(Uploading))
	for s.empty() {
		time.Sleep(time.Millisecond)
	}
	if err := q.Cancel(j.ID); err != nil {
		t.Fatal(err)
	}
	await(t, q, j.ID, func(j Job) bool { return j.State == Canceled && j.Error != "" && !j.RetryAt.IsZero() })
	drain(t, q)
	s.set(func(s *server) { s.onAbort = nil })
	q = open(t, dir, mem{s})
	for !s.empty() {
		time.Sleep(time.Millisecond)
	}
	if got, _ := q.Job(j.ID); got.State != Canceled {
		t.Fatalf("state is %s", got.State)
	}
}
