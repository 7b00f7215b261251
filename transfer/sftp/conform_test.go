package sftp_test

import (
	"cmp"
	"context"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"berth/transfer"
	"berth/transfer/sftp"
	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
)

func TestConformance(t *testing.T)     { conform(t, servers.SSHD, "") }
func TestConformanceFlat(t *testing.T) { conform(t, servers.SSHD, "{name}") }
func TestConformanceGo(t *testing.T)   { conform(t, servers.GoSFTP, "") }

func conform(t *testing.T, start servers.Starter, path string) {
	s := servers.Start(t, start)
	transfertest.Run(t, func(t *testing.T, over func(transfertest.Dial) transfertest.Dial) transfertest.Fixture {
		return transfertest.FileFixture(t, s, path, func(dir, password string) transfer.Backend {
			return open(t, sftp.Config{
				Addr: s.Addr, User: cmp.Or(s.User, "anyone"), Password: secret(password), KnownHosts: &hosts{},
				Dir: dir, Path: path, Dial: over(nil),
			})
		})
	})
}

func TestOverwrite(t *testing.T) {
	for _, start := range []servers.Starter{servers.SSHD, servers.GoSFTP} {
		s := servers.Start(t, start)
		dir, root, err := s.NewDir()
		if err != nil {
			t.Fatal(err)
		}
		transfertest.Overwrite(t, open(t, sftp.Config{
			Addr: s.Addr, User: cmp.Or(s.User, "anyone"), Password: secret(s.Password), KnownHosts: &hosts{},
			Dir: dir, Path: "{name}", Overwrite: true,
		}), root)
	}
}

func secret(s string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return s, nil }
}

func open(t testing.TB, cfg sftp.Config) *sftp.Backend {
	b, err := sftp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// hosts trusts on first use, unless it is told to refuse.
type hosts struct {
	mu     sync.Mutex
	pinned map[string]ssh.PublicKey
	refuse error
}

func (h *hosts) Lookup(addr string) ([]ssh.PublicKey, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.pinned[addr]; k != nil {
		return []ssh.PublicKey{k}, nil
	}
	return nil, nil
}

func (h *hosts) Pin(addr string, key ssh.PublicKey) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return h.refuse
	}
	if h.pinned == nil {
		h.pinned = map[string]ssh.PublicKey{}
	}
	h.pinned[addr] = key
	return nil
}
