package local

import (
	"fmt"
	"mime"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/transfer"
	"berth/transfer/internal/peer"
	"berth/transfer/transfertest"
)

func direct(d peer.Dial) peer.Dial { return d }

func put(t *testing.T, s *Server, o transfer.Object, content []byte, commit bool) string {
	t.Helper()
	b := s.Backend()
	h, err := b.Begin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	u, err := b.Open(t.Context(), o, h, o.Size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if commit {
		if err := b.Commit(t.Context(), o, h); err != nil {
			t.Fatal(err)
		}
	}
	l, ok := b.Link(o, h)
	if !ok {
		t.Fatal("no link")
	}
	return l
}

func TestDownload(t *testing.T) {
	s := start(t, t.TempDir(), direct)
	o, content := transfertest.NewObject("Übersicht \"Q1\" 50%.html", 5000)
	o.Type = "text/html"
	link := put(t, s, o, content, true)
	resp, body := get(t, link, nil)
	if resp.StatusCode != http.StatusOK || string(body) != string(content) {
		t.Fatalf("GET: %s, %d bytes", resp.Status, len(body))
	}
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
	if err != nil || kind != "attachment" || params["filename"] != o.Name {
		t.Errorf("Content-Disposition %q: %q %q %v", resp.Header.Get("Content-Disposition"), kind, params["filename"], err)
	}
	for k, want := range map[string]string{
		"Content-Type": "text/html", "X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes", "Etag": `"` + o.ID + `"`,
		"Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'", "Access-Control-Allow-Origin": "",
	} {
		if got := resp.Header.Get(k); got != want {
			t.Errorf("%s is %q, want %q", k, got, want)
		}
	}
}

func TestDownloadRanges(t *testing.T) {
	s := start(t, t.TempDir(), direct)
	o, content := transfertest.NewObject("r.bin", 5000)
	link := put(t, s, o, content, true)
	for rng, want := range map[string]string{"bytes=0-9": string(content[:10]), "bytes=4990-": string(content[4990:]), "bytes=-5": string(content[4995:])} {
		resp, body := get(t, link, http.Header{"Range": {rng}, "If-Range": {`"` + o.ID + `"`}})
		if resp.StatusCode != http.StatusPartialContent || string(body) != want {
			t.Errorf("%s: %s, %d bytes", rng, resp.Status, len(body))
		}
	}
	if resp, _ := get(t, link, http.Header{"Range": {"bytes=5000-"}}); resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range behind the end: %s", resp.Status)
	}
	if resp, _ := get(t, link, http.Header{"If-None-Match": {`"` + o.ID + `"`}}); resp.StatusCode != http.StatusNotModified {
		t.Errorf("unchanged: %s", resp.Status)
	}
}

// TestNothingElse: what isn't a finished object under its own link isn't there.
func TestNothingElse(t *testing.T) {
	s := start(t, t.TempDir(), direct)
	done, content := transfertest.NewObject("done.txt", 100)
	put(t, s, done, content, true)
	open, content := transfertest.NewObject("open.txt", 100)
	put(t, s, open, content, false)
	for _, path := range []string{
		"/", "/files/", "/upload/", "/upload/" + done.ID, "/" + done.ID, "/" + done.ID + "/", "/" + done.ID + "/other.txt",
		"/" + open.ID + "/open.txt", "/" + done.ID + ".done", "/" + done.ID + ".info/", "/../port", "/%2e%2e/port", "/..%2fport/x",
		"/" + strings.ToUpper(done.ID) + "/done.txt", "/" + done.ID + "/done.txt/",
	} {
		if resp, body := get(t, s.Base()+path, nil); resp.StatusCode != http.StatusNotFound || strings.Contains(string(body), done.ID) {
			t.Errorf("GET %s: %s %q", path, resp.Status, body)
		}
	}
}

func TestForeignHostsAndMethods(t *testing.T) {
	s := start(t, t.TempDir(), direct)
	o, content := transfertest.NewObject("h.txt", 10)
	link := put(t, s, o, content, true)
	for _, host := range []string{"evil.example", "localhost" + s.host[len(loopback):], loopback, loopback + ":1", "evil.example" + s.host[len(loopback):]} {
		if resp, _ := get(t, link, http.Header{"Host": {host}}); resp.StatusCode != http.StatusForbidden {
			t.Errorf("Host %s: %s", host, resp.Status)
		}
	}
	for _, m := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
		for _, url := range []string{link, s.Base() + "/upload/", s.Base() + "/upload/" + o.ID} {
			req, err := http.NewRequestWithContext(t.Context(), m, url, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Tus-Resumable", "1.0.0")
			req.Header.Set("Origin", "http://evil.example")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %s", m, url, resp.Status)
			}
		}
	}
	if _, body := get(t, link, nil); string(body) != string(content) {
		t.Error("a foreign method changed the object")
	}
}

// TestRestart: the links of yesterday work today, and an upload goes on.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s, err := New(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	o, content := transfertest.NewObject("restart.txt", 1000)
	link := put(t, s, o, content, true)
	half, more := transfertest.NewObject("half.txt", 1000)
	h, err := s.Backend().Begin(t.Context(), half)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.store.data(half.ID), more[:400], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir, direct)
	if resp, body := get(t, link, nil); resp.StatusCode != http.StatusOK || string(body) != string(content) {
		t.Errorf("the old link: %s", resp.Status)
	}
	u, err := s.Backend().Open(t.Context(), half, h, half.Size)
	if err != nil || u.Offset() != 400 {
		t.Fatalf("Open: %v", err)
	}
}

// TestPortTaken: somebody else has the port now; another one serves.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, remembered := range []string{fmt.Sprint(l.Addr().(*net.TCPAddr).Port), "", "0", "-1", "70000", "http"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "port"), []byte(remembered), 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, dir, direct)
		if s.host == l.Addr().String() {
			t.Fatal("two listeners on one port")
		}
		if text, err := os.ReadFile(filepath.Join(dir, "port")); err != nil || !strings.HasSuffix(s.host, ":"+string(text)) {
			t.Errorf("remembered %q, serves %s (%v)", text, s.host, err)
		}
	}
}

// TestBroken: what a power cut may leave of tusd's description is a lost upload,
// not an error for ever.
func TestBroken(t *testing.T) {
	s := start(t, t.TempDir(), direct)
	o, _ := transfertest.NewObject("broken.txt", 1000)
	b := s.Backend()
	for _, text := range []string{"", "{\"ID\":"} {
		h, err := b.Begin(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.store.info(o.ID), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Open(t.Context(), o, h, o.Size); err == nil || !strings.Contains(err.Error(), transfer.ErrGone.Error()) {
			t.Errorf("Open with %q: %v, want ErrGone", text, err)
		}
	}
}

// TestPrivate: nobody else on the machine reads the files.
func TestPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	start(t, dir, direct)
	for _, d := range []string{dir, filepath.Join(dir, "files")} {
		st, err := os.Stat(d)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
			t.Errorf("%s has mode %v", d, st.Mode())
		}
	}
}

// TestConnections: those who only hold connections don't keep others out for good.
func TestConnections(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lim := limitConns(l, 1)
	defer lim.Close()
	dial := func() net.Conn {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	dial()
	first, err := lim.Accept()
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		c, err := lim.Accept()
		if err == nil {
			c.Close()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Fatalf("a second connection at a limit of one (%v)", err)
	default:
	}
	first.Close()
	first.Close() // gives one slot back, not two
	if err := <-second; err != nil {
		t.Fatal(err)
	}
}

func FuzzDisposition(f *testing.F) {
	for _, s := range []string{"a.txt", "ü \"x\".pdf", "100%.bin", "日本.doc", "a;b=c", "\\", "🚢"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) { checkDisposition(t, name) })
}

func checkDisposition(t testing.TB, name string) {
	d := disposition(name)
	if strings.ContainsAny(d, "\r\n") {
		t.Fatalf("header injection: %q", d)
	}
	_, params, err := mime.ParseMediaType(d)
	if err != nil || params["filename"] != name {
		t.Fatalf("%q came back as %q (%v) by %q", name, params["filename"], err, d)
	}
}

func BenchmarkUpload1GiB(b *testing.B)  { bench(b, transfertest.Bench) }
func BenchmarkUploadSmall(b *testing.B) { bench(b, transfertest.BenchSmall) }

func bench(b *testing.B, run func(*testing.B, transfer.Backend)) {
	s, err := New(Config{Dir: benchDir(b)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	run(b, s.Backend())
}

// benchDir is in memory where there is such a place: the disk isn't what is measured.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp("/dev/shm", "berth-bench-")
	if err != nil {
		return b.TempDir()
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
