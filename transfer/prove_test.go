package transfer

import (
	"context"
	"io"
	"os"
	"runtime"
	"testing"
)

// provoked is a server during whose proof something happens.
type provoked struct {
	mem
	during func()
}

func (p provoked) ReadAt(ctx context.Context, o Object, h Handle, offset, n int64) (io.ReadCloser, error) {
	p.during()
	return p.mem.ReadAt(ctx, o, h, offset, n)
}

// TestSourceChangesDuringProof: what was accepted has been sent, and arrived. What
// becomes of the source afterwards is its owner's business.
func TestSourceChangesDuringProof(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"rewritten": func(p string) error { return os.WriteFile(p, random(3<<20), 0o600) },
		"shortened": func(p string) error { return os.Truncate(p, 1<<20) },
		"removed":   os.Remove,
	} {
		if name == "removed" && runtime.GOOS == "windows" {
			continue // an open file cannot be removed there
		}
		t.Run(name, func(t *testing.T) {
			s := newServer()
			data := random(3 << 20)
			path := writeFile(t, "f", data)
			q := open(t, t.TempDir(), provoked{mem{s}, func() {
				if err := change(path); err != nil && !os.IsNotExist(err) {
					t.Error(err)
				}
			}})
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
			wantFile(t, s, awaitDone(t, q, j.ID).Items[0], data)
			if s.begun != 1 {
				t.Errorf("begun %d times", s.begun)
			}
		})
	}
}

// TestDamageDuringProof: what the server holds differs although the source does not.
func TestDamageDuringProof(t *testing.T) {
	s := newServer()
	damaged := false
	q := open(t, t.TempDir(), provoked{mem{s}, func() {
		s.set(func(s *server) {
			for _, p := range s.parts {
				if !damaged && len(p.data) > 0 {
					p.data[len(p.data)-1] ^= 1
					damaged = true
				}
			}
		})
	}})
	data := random(3 << 20)
	wantFile(t, s, awaitDone(t, q, submit(t, q, data).ID).Items[0], data)
	if !damaged || s.begun != 2 {
		t.Errorf("damaged %v, begun %d times", damaged, s.begun)
	}
}
