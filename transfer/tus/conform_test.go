package tus

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"testing"

	"berth/transfer"
	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
)

func TestConformance(t *testing.T) {
	conform(t, func(_ *testing.T, s *servers.Server) string { return s.URL })
}

// TestConformanceChecksum: in blocks instead of one stream.
func TestConformanceChecksum(t *testing.T) {
	conform(t, func(t *testing.T, s *servers.Server) string { return checking(t, s, "sha256", -1) })
}

func conform(t *testing.T, front func(*testing.T, *servers.Server) string) {
	transfertest.Run(t, func(t *testing.T, over func(transfertest.Dial) transfertest.Dial) transfertest.Fixture {
		s := servers.Start(t, servers.TUSProcess)
		url := front(t, s)
		file := func(h transfer.Handle) string {
			return filepath.Join(s.Root, path.Base(string(h)))
		}
		return transfertest.Fixture{
			Backend:  open(t, url, s.Password, over(nil)),
			Stranger: open(t, url, transfertest.WrongPassword, over(nil)),
			Fetch: func(t *testing.T, _ transfer.Object, h transfer.Handle) []byte {
				p, err := os.ReadFile(file(h))
				if err != nil {
					t.Fatal(err)
				}
				return p
			},
			Files: func(t *testing.T) []string {
				all, err := servers.Tree(s.Root)
				if err != nil {
					t.Fatal(err)
				}
				return all
			},
			Forget: func(t *testing.T, _ transfer.Object, h transfer.Handle) {
				if err := os.Remove(file(h) + ".info"); err != nil {
					t.Fatal(err)
				}
			},
			Orphans: true, Blind: true, Unflushed: true,
		}
	})
}

func open(t *testing.T, url, password string, dial transfertest.Dial) *Backend {
	return newBackend(t, Config{
		URL: url, Dial: dial,
		Authorization: func(context.Context) (string, error) { return "Bearer " + password, nil },
	})
}
