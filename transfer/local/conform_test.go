package local

import (
	"io"
	"net/http"
	"os"
	"testing"

	"berth/transfer"
	"berth/transfer/internal/peer"
	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
)

func TestConformance(t *testing.T) {
	transfertest.Run(t, func(t *testing.T, over func(transfertest.Dial) transfertest.Dial) transfertest.Fixture {
		s := start(t, t.TempDir(), func(d peer.Dial) peer.Dial { return over(d) })
		b := s.Backend()
		return transfertest.Fixture{
			Backend: b,
			Fetch: func(t *testing.T, o transfer.Object, h transfer.Handle) []byte {
				url, _ := b.Link(o, h)
				resp, body := get(t, url, nil)
				if resp.StatusCode != http.StatusOK {
					t.Fatalf("GET %s: %s", url, resp.Status)
				}
				return body
			},
			Files: func(t *testing.T) []string {
				all, err := servers.Tree(s.store.dir)
				if err != nil {
					t.Fatal(err)
				}
				return all
			},
			Forget: func(t *testing.T, o transfer.Object, _ transfer.Handle) {
				if err := s.store.remove(o.ID); err != nil {
					t.Fatal(err)
				}
			},
			Plant: func(t *testing.T, o transfer.Object, _ transfer.Handle, content []byte) {
				if err := os.WriteFile(s.store.data(o.ID), content, 0o600); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func start(t *testing.T, dir string, through func(peer.Dial) peer.Dial) *Server {
	t.Helper()
	s, err := open(Config{Dir: dir}, through)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// get fetches url with the given headers.
func get(t *testing.T, url string, h http.Header) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h != nil {
		req.Header, req.Host = h, h.Get("Host")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}
