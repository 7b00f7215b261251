package transfer_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/transfer"
	"berth/transfer/ftp"
	"berth/transfer/local"
	"berth/transfer/sftp"
	"berth/transfer/transfertest/servers"
	"berth/transfer/tus"
)

// site is a real server as the queue reaches it.
type site struct {
	backend transfer.Backend
	root    string // where it keeps files
}

// anyHost pins the first key it sees.
type anyHost struct{ pinned sync.Map }

func (h *anyHost) Lookup(addr string) ([]ssh.PublicKey, error) {
	if k, ok := h.pinned.Load(addr); ok {
		return []ssh.PublicKey{k.(ssh.PublicKey)}, nil
	}
	return nil, nil
}

func (h *anyHost) Pin(addr string, key ssh.PublicKey) error {
	h.pinned.Store(addr, key)
	return nil
}

func sites() map[string]func(t *testing.T) site {
	return map[string]func(t *testing.T) site{
		"local": func(t *testing.T) site {
			dir := t.TempDir()
			s, err := local.New(local.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return site{s.Backend(), dir}
		},
		"tus": func(t *testing.T) site {
			s := servers.Start(t, servers.TUS)
			return made(t, s.Root)(tus.New(tus.Config{URL: s.URL, Authorization: secret("Bearer " + s.Password)}))
		},
		"ftp": func(t *testing.T) site {
			s, dir, root := started(t, servers.VSFTPD)
			return made(t, root)(ftp.New(ftp.Config{Addr: s.Addr, User: s.User, Password: secret(s.Password), Dir: dir}))
		},
		"sftp": func(t *testing.T) site {
			s, dir, root := started(t, servers.SSHD)
			return made(t, root)(sftp.New(sftp.Config{
				Addr: s.Addr, User: cmp.Or(s.User, "anyone"), Password: secret(s.Password), Dir: dir, KnownHosts: &anyHost{},
			}))
		},
	}
}

func secret(s string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return s, nil }
}

func started(t *testing.T, start servers.Starter) (s *servers.Server, dir, root string) {
	s = servers.Start(t, start)
	dir, root, err := s.NewDir()
	if err != nil {
		t.Fatal(err)
	}
	return s, dir, root
}

func made(t *testing.T, root string) func(b transfer.Backend, err error) site {
	return func(b transfer.Backend, err error) site {
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := b.(io.Closer); ok {
			t.Cleanup(func() { c.Close() }) // a server waits for its connections
		}
		return site{b, root}
	}
}

// TestRealServers sends through every backend to a real server, with a pause, a
// resume and a restart on the way, then cancels a second job, which leaves
// nothing.
func TestRealServers(t *testing.T) {
	for name, start := range sites() {
		t.Run(name, func(t *testing.T) {
			s, dir := start(t), t.TempDir()
			q := openQueue(t, dir, s)
			big, small := content(24<<20+1), content(3<<20)
			id := handOver(t, q, big, small)
			until(t, q, id, func(j transfer.Job) bool { return j.BytesDone() > 5<<20 })
			if err := q.Pause(id); err != nil {
				t.Fatal(err)
			}
			if err := q.Resume(id); err != nil {
				t.Fatal(err)
			}
			until(t, q, id, func(j transfer.Job) bool { return j.BytesDone() > 12<<20 })
			if err := q.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			q = openQueue(t, dir, s)
			j := until(t, q, id, func(j transfer.Job) bool { return j.State == transfer.Done || j.State == transfer.Failed })
			if j.State != transfer.Done || j.Items[0].Link == "" && name != "ftp" && name != "sftp" {
				t.Fatalf("job is %s: %s", j.State, j.Error)
			}
			for _, data := range [][]byte{big, small} {
				if !holds(t, s.root, data) {
					t.Errorf("the server does not hold the %d bytes", len(data))
				}
			}
			if again := j.Items[0].Resent + j.Items[1].Resent; again > 2*2*transfer.ChunkSize {
				t.Errorf("%d bytes were sent again", again)
			}
			before := tree(t, s.root)
			id = handOver(t, q, big, small)
			until(t, q, id, func(j transfer.Job) bool { return j.BytesDone() > 5<<20 })
			if err := q.Cancel(id); err != nil {
				t.Fatal(err)
			}
			for !slices.Equal(tree(t, s.root), before) {
				time.Sleep(5 * time.Millisecond) // the clean-up has no other witness than the server
			}
		})
	}
}

func openQueue(t *testing.T, dir string, s site) *transfer.Queue {
	t.Helper()
	q, err := transfer.Open(t.Context(), transfer.Config{
		Dir: dir, BytesPerSecond: 24 << 20,
		Backend: func(string) (transfer.Backend, error) { return s.backend, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return q
}

func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// handOver commits a package of a file and of bytes in memory.
func handOver(t *testing.T, q *transfer.Queue, file, memory []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Größe 1.bin")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := q.NewPackage("", "d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddFile(t.Context(), path, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddReader(t.Context(), "memory.txt", bytes.NewReader(memory)); err != nil {
		t.Fatal(err)
	}
	j, err := p.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return j.ID
}

func until(t *testing.T, q *transfer.Queue, id string, ok func(transfer.Job) bool) transfer.Job {
	t.Helper()
	for e := range q.Watch(t.Context()) {
		if e.Kind != transfer.JobChanged || e.ID != id {
			continue
		}
		if ok(e.Job) {
			return e.Job
		}
		if e.Job.State == transfer.Failed {
			t.Fatal(e.Job.Error)
		}
	}
	t.Fatal("the watch ended early")
	return transfer.Job{}
}

// holds reports whether some file of the server has exactly these bytes.
func holds(t *testing.T, root string, data []byte) bool {
	t.Helper()
	want, found := sha256.Sum256(data), false
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || len(b) == len(data) && sha256.Sum256(b) == want
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// tree lists what a server holds; what vanishes meanwhile is not there.
func tree(t *testing.T, root string) []string {
	t.Helper()
	all, err := servers.Tree(root)
	if err != nil && !strings.Contains(err.Error(), "no such file") {
		t.Fatal(err)
	}
	return all
}
