package tus

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/transfer"
	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func serve(t *testing.T, h http.HandlerFunc) *Backend {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return newBackend(t, Config{URL: s.URL + "/files/"})
}

func newBackend(t *testing.T, cfg Config) *Backend {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestNew(t *testing.T) {
	for _, cfg := range []Config{
		{}, {URL: "ftp://host/"}, {URL: "https:///files"}, {URL: "https://me:secret@host/"}, {URL: "https://me:secret@host/%zz"}, {URL: "https://host/%zz"}, {URL: "https://host/", Link: "https://host/fixed"},
	} {
		if _, err := New(cfg); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", cfg.URL, err)
		}
	}
}

// TestLocation: our credentials go to the configured host and to no other.
func TestLocation(t *testing.T) {
	b := newBackend(t, Config{URL: "https://host:1/files/"})
	for in, want := range map[string]string{
		"https://host:1/files/a": "https://host:1/files/a", "/x/a": "https://host:1/x/a", "a?b=c#d": "https://host:1/files/a?b=c",
		"": "", "http://host:1/files/a": "", "https://host/files/a": "", "https://evil/a": "", "//evil/a": "", "https://u:p@host:1/a": "", "ftp://host:1/a": "", "%zz": "",
	} {
		u, err := b.location(in)
		if got := ""; err == nil {
			if got = u.String(); got != want {
				t.Errorf("%q: %s, want %s", in, got, want)
			}
		} else if want != "" {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// TestHostileAnswers: none of these may hang, panic or pass for success.
func TestHostileAnswers(t *testing.T) {
	o, _ := transfertest.NewObject("a.txt", 100)
	for name, c := range map[string]struct {
		create, head http.HandlerFunc
		want         error
	}{
		"elsewhere": {create: location("https://evil.example/a"), want: transfer.ErrPermanent},
		"nowhere":   {create: status(http.StatusCreated)},
		"redirect":  {create: redirect("/other"), want: transfer.ErrPermanent},
		"redirect by 307": {create: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.example/", http.StatusTemporaryRedirect)
		}, want: transfer.ErrPermanent},
		"teapot":    {create: status(http.StatusTeapot), want: transfer.ErrPermanent},
		"too large": {create: status(http.StatusRequestEntityTooLarge), want: transfer.ErrPermanent},
		"forbidden": {create: status(http.StatusForbidden), want: transfer.ErrUnauthorized},
		"big header": {create: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			w.WriteHeader(201)
		}},
		"big body": {create: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			for range 1000 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}},
		"no offset":       {head: status(200)},
		"negative offset": {head: offset("-1")},
		"signed offset":   {head: offset("+1")},
		"huge offset":     {head: offset("99999999999999999999")},
		"offset behind":   {head: offset("101"), want: transfer.ErrGone},
		"other length": {head: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Upload-Length", "7")
			offset("0")(w, r)
		}, want: transfer.ErrGone},
		"gone":            {head: status(410), want: transfer.ErrGone},
		"forbidden later": {head: status(403), want: transfer.ErrGone},
		"locked out":      {head: status(401), want: transfer.ErrUnauthorized},
		"head redirect":   {head: redirect("/other"), want: transfer.ErrPermanent},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/other":
					t.Error("followed the redirect")
				case r.Method == http.MethodPost && c.create != nil:
					c.create(w, r)
				case r.Method == http.MethodPost:
					location("/files/a")(w, r)
				default:
					c.head(w, r)
				}
			})
			h, err := b.Begin(t.Context(), o)
			if c.create == nil {
				b.told(h)
				_, err = b.Open(t.Context(), o, h, 100)
			}
			if err == nil || c.want != nil && !errors.Is(err, c.want) || len(err.Error()) > 1000 {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func location(l string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", l)
		w.WriteHeader(http.StatusCreated)
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func offset(n string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Upload-Offset", n) }
}

// TestSilentServers: one that trickles and one that says nothing are given up.
func TestSilentServers(t *testing.T) {
	for name, talk := range map[string]func(net.Conn){
		"says nothing": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"trickles": func(c net.Conn) {
			for _, b := range []byte("HTTP/1.1 201 Created\r\nX: " + strings.Repeat("x", 1<<16)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond) // the pace is what is tested
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() { defer c.Close(); talk(c) }()
				}
			}()
			b := newBackend(t, Config{URL: "http://" + l.Addr().String() + "/", Patience: 200 * time.Millisecond})
			o, _ := transfertest.NewObject("a.txt", 100)
			if _, err := b.Begin(t.Context(), o); err == nil {
				t.Fatal("Begin was content")
			}
		})
	}
}

// TestTLS: the system's authorities don't vouch for a server of our own making;
// the pinned one does.
func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(location("a"))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	o, _ := transfertest.NewObject("a.txt", 100)
	b := newBackend(t, Config{URL: s.URL + "/files/"})
	if _, err := b.Begin(t.Context(), o); err == nil {
		t.Fatal("an unknown certificate was trusted")
	}
	pool := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	b = newBackend(t, Config{URL: s.URL + "/files/", RootCAs: pool})
	if h, err := b.Begin(t.Context(), o); err != nil || string(h) != s.URL+"/files/a" {
		t.Fatalf("Begin: %s, %v", h, err)
	}
}

// TestLostTail: a server that keeps less of a cut request than we wrote is found
// out by Close.
func TestLostTail(t *testing.T) {
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			location("/files/a")(w, r)
		case http.MethodPatch:
			_, _ = io.Copy(io.Discard, r.Body) // and forgets most of it
		case http.MethodHead:
			offset("3")(w, r)
		}
	})
	o, content := transfertest.NewObject("a.txt", 100)
	h, err := b.Begin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	u, err := b.Open(t.Context(), o, h, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(content[:10]); err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err == nil || !strings.Contains(err.Error(), "3 of 10") {
		t.Fatalf("Close: %v", err)
	}
}

// TestSecretAddresses: whoever knows an upload's address may change it, so no
// error tells it, whatever call the server drops or refuses.
func TestSecretAddresses(t *testing.T) {
	const secret = "SECRETHANDLE"
	for name, fault := range map[string]http.HandlerFunc{
		"drops": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"refuses": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no "+r.URL.Path+" or "+path.Base(r.URL.Path), http.StatusLocked)
		},
	} {
		for _, sums := range []string{"", "sha256"} {
			t.Run(name+" "+sums, func(t *testing.T) {
				b := serve(t, func(w http.ResponseWriter, r *http.Request) {
					switch r.Method {
					case http.MethodPost:
						location("/files/"+secret)(w, r)
					case http.MethodOptions:
						w.Header().Set("Tus-Version", version)
						w.Header().Set("Tus-Extension", "checksum")
						w.Header().Set("Tus-Checksum-Algorithm", sums)
					default:
						fault(w, r)
					}
				})
				for call, err := range everyCall(t, b) {
					if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "/files/") {
						t.Errorf("%s: %v", call, err)
					}
				}
			})
		}
	}
}

// everyCall answers what each call about an upload that has begun answers.
func everyCall(t *testing.T, b *Backend) map[string]error {
	t.Helper()
	ctx, errs := t.Context(), map[string]error{}
	o, content := transfertest.NewObject("a.txt", 100)
	h, err := b.Begin(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{10, 100} {
		b.seen.Store(h, int64(0))
		u, err := b.Open(ctx, o, h, 100)
		if err != nil {
			t.Fatal(err)
		}
		_, err = u.Write(content[:n])
		errs["write "+strconv.Itoa(n)] = errors.Join(err, u.Close())
	}
	_, errs["open"] = b.Open(ctx, o, h, 100)
	_, errs["open elsewhere"] = b.Open(ctx, o, h+"%zz", 100)
	_, errs["read"] = b.ReadAt(ctx, o, h, 0, 10)
	errs["commit"] = b.Commit(ctx, o, h)
	errs["abort"] = b.Abort(ctx, o, h)
	return errs
}

// TestMetadata: names arrive as they are, whatever is in them, and the object's ID
// tells an administrator whose an upload is that nobody finished.
func TestMetadata(t *testing.T) {
	var got string
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Upload-Metadata")
		location("a")(w, r)
	})
	o, _ := transfertest.NewObject("Übersicht, 1.pdf", 1)
	o.Type = ""
	if _, err := b.Begin(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	want := "berth-id " + base64.StdEncoding.EncodeToString([]byte(o.ID)) + ",filename " + base64.StdEncoding.EncodeToString([]byte(o.Name))
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestNoReadBack: a server that doesn't serve its uploads can't be read back,
// which isn't the same as having lost one.
func TestNoReadBack(t *testing.T) {
	lost := false
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			w.WriteHeader(http.StatusNotFound)
		case lost:
			w.WriteHeader(http.StatusNotFound)
		default:
			offset("100")(w, r)
		}
	})
	o, _ := transfertest.NewObject("a.txt", 100)
	h := transfer.Handle(b.endpoint.String() + "a")
	if _, err := b.ReadAt(t.Context(), o, h, 0, 10); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("not served: %v", err)
	}
	lost = true
	if _, err := b.ReadAt(t.Context(), o, h, 0, 10); !errors.Is(err, transfer.ErrGone) {
		t.Errorf("lost: %v", err)
	}
}

// checking is a tus server with the checksum extension in front of tusd. It
// spoils the chunk with the given number on its way in.
func checking(t *testing.T, s *servers.Server, algorithms string, spoil int) string {
	t.Helper()
	to, err := url.Parse("http://" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	var chunks atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Header.Get("Authorization") != "Bearer "+s.Password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.Method {
		case http.MethodOptions:
			w.Header().Set("Tus-Version", version)
			w.Header().Set("Tus-Extension", "creation, checksum")
			w.Header().Set("Tus-Checksum-Algorithm", algorithms)
			return
		case http.MethodPatch:
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // the connection broke, and so did the chunk
			}
			if chunks.Add(1) == int64(spoil) {
				body[len(body)/2] ^= 1
			}
			a, sum, _ := strings.Cut(r.Header.Get("Upload-Checksum"), " ")
			one, two := sha1.Sum(body), sha256.Sum256(body)
			if want := map[string][]byte{"sha1": one[:], "sha256": two[:]}[a]; want == nil || base64.StdEncoding.EncodeToString(want) != sum {
				w.WriteHeader(statusChecksum)
				return
			}
			if len(body) > transfer.ChunkSize {
				t.Errorf("a chunk of %d bytes", len(body))
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return front.URL + "/files/"
}

func TestChecksums(t *testing.T) {
	s := servers.Start(t, servers.TUSProcess)
	for _, algorithms := range []string{"md5,sha1", "sha1, sha256", "crc32"} {
		t.Run(algorithms, func(t *testing.T) {
			spoil := 2
			if algorithms == "crc32" {
				spoil = -1
			}
			front := checking(t, s, algorithms, spoil)
			b := newBackend(t, Config{URL: front, Authorization: func(context.Context) (string, error) { return "Bearer " + s.Password, nil }})
			o, content := transfertest.NewObject("sum.bin", 9<<20+5)
			sum, err := b.abilities(t.Context())
			if err != nil || (sum.make == nil) != (spoil < 0) {
				t.Fatalf("abilities: %q, %v", sum.name, err)
			}
			if spoil < 0 {
				return
			}
			// tusd calls itself by the front's name, for it sees the front's Host.
			h, err := b.Begin(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if err := sendRest(t, b, o, h, content, 0); err == nil {
				t.Fatal("a spoiled chunk was taken")
			}
			if err := sendRest(t, b, o, h, content, transfer.ChunkSize); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(s.Root, filepath.Base(string(h))))
			if err != nil || string(got) != string(content) {
				t.Fatalf("%d bytes arrived, equal: %v, %v", len(got), string(got) == string(content), err)
			}
		})
	}
}

func sendRest(t *testing.T, b *Backend, o transfer.Object, h transfer.Handle, content []byte, from int64) error {
	t.Helper()
	u, err := b.Open(t.Context(), o, h, o.Size)
	if err != nil {
		t.Fatal(err)
	}
	if u.Offset() != from {
		t.Fatalf("continues at %d, want %d", u.Offset(), from)
	}
	_, err = u.Write(content[from:])
	return errors.Join(err, u.Close())
}

func FuzzState(f *testing.F) {
	f.Add("0", "100", "bytes 0-9/100", "x")
	f.Add("-1", "", "bytes 1", "\x1b[31m")
	f.Fuzz(func(t *testing.T, offset, length, rng, text string) { checkState(t, offset, length, rng, text) })
}

func checkState(t testing.TB, offset, length, rng, text string) {
	n, err := parseState(http.Header{"Upload-Offset": {offset}, "Upload-Length": {length}}, 100)
	if err == nil && (n < 0 || n > 100) {
		t.Fatalf("offset %d from %q", n, offset)
	}
	if m := message(text); len(m) > 1000 || strings.ContainsFunc(m, func(r rune) bool { return r < ' ' }) {
		t.Fatalf("%q is printed as %q", text, m)
	}
	b := &Backend{endpoint: &url.URL{Scheme: "https", Host: "host", Path: "/files/"}}
	if u, err := b.location(text); err == nil && (u.Scheme != "https" || u.Host != "host" || u.User != nil) {
		t.Fatalf("%q leads to %s", text, u)
	}
	_ = offered(http.Header{"Tus-Extension": {text}, "Tus-Checksum-Algorithm": {rng}})
}
