package tus_test

import (
	"context"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"berth/transfer"
	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
	"berth/transfer/tus"
)

func TestMain(m *testing.M) { servers.Main(m) }

func TestConformance(t *testing.T) {
	transfertest.Run(t, func(t *testing.T, over func(transfertest.Dial) transfertest.Dial) transfertest.Fixture {
		s := servers.Start(t, servers.TUSProcess)
		file := func(h transfer.Handle) string {
			u, err := url.Parse(string(h))
			if err != nil {
				t.Fatal(err)
			}
			return filepath.Join(s.Root, path.Base(u.Path))
		}
		return transfertest.Fixture{
			Backend:  open(t, s, s.Password, over(nil)),
			Stranger: open(t, s, transfertest.WrongPassword, over(nil)),
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
			Orphans: true, Unflushed: true,
		}
	})
}

func open(t *testing.T, s *servers.Server, password string, dial transfertest.Dial) *tus.Backend {
	b, err := tus.New(tus.Config{
		URL: s.URL, Dial: dial,
		Authorization: func(context.Context) (string, error) { return "Bearer " + strings.TrimSpace(password), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}
