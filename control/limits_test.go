package control_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/control"
)

// dial opens a connection that nobody has said anything on.
func dial(t *testing.T, r *running) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.target.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute)) // hangs are failures
	return c
}

// gone waits until the server has closed c.
func gone(c net.Conn) error {
	_, err := io.Copy(io.Discard, c)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return errors.New("the connection is still open")
	}
	return nil
}

// TestDawdlersAreSentAway: every way of not getting on with it ends.
func TestDawdlersAreSentAway(t *testing.T) {
	t.Parallel()
	f := &fake{}
	r := start(t, f, "")
	r.Hurry()
	for name, dawdle := range map[string]func(c net.Conn){
		"silent":             func(net.Conn) {},
		"another protocol":   func(c net.Conn) { _, _ = c.Write([]byte("\x00\x01\x02")) },
		"lower case":         func(c net.Conn) { _, _ = c.Write([]byte("get / HTTP/1.1\r\n\r\n")) },
		"half a greeting":    func(c net.Conn) { _, _ = c.Write([]byte{0x16, 3, 1, 2}) },
		"a greeting of junk": func(c net.Conn) { _, _ = c.Write(append([]byte{0x16, 3, 1, 0, 200}, make([]byte, 200)...)) },
		"half a head":        func(c net.Conn) { _, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: 127")) },
		"a head byte by byte": func(c net.Conn) {
			for _, err := c.Write([]byte("GET / HTTP/1.1\r\nX: ")); err == nil; _, err = c.Write([]byte("x")) {
				time.Sleep(50 * time.Millisecond)
			}
		},
		"half a body": func(c net.Conn) {
			_, _ = c.Write([]byte("POST /monitor/visit HTTP/1.1\r\nHost: " + r.target.Addr + "\r\nOrigin: http://" + r.target.Addr +
				"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"))
		},
		"TLS and no more": func(c net.Conn) { _ = tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake() },
		"old TLS": func(c net.Conn) {
			if tls.Client(c, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}).Handshake() == nil {
				t.Error("TLS 1.2 was taken")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, r)
			dawdle(c)
			if err := gone(c); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEndlessHeadIsCutOff: a head of a gigabyte costs no more than its limit.
func TestEndlessHeadIsCutOff(t *testing.T) {
	r := start(t, &fake{}, "")
	for _, begin := range []string{"GET / HTTP/1.1\r\nHost: x\r\nX: ", "GET /", "A", "GET / HTTP/1.1\r\n"} {
		c := dial(t, r)
		_, err := c.Write([]byte(begin))
		chunk := bytes.Repeat([]byte("X: y\r\n"), 10000)
		if !strings.HasSuffix(begin, "\n") {
			chunk = bytes.Repeat([]byte("x"), 60000)
		}
		sent := 0
		for ; err == nil && sent < 1<<30; sent += len(chunk) {
			_, err = c.Write(chunk)
		}
		if sent >= 64<<20 { // what socket buffers take, and a lot to spare
			t.Errorf("%q: %d bytes were taken", begin, sent)
		}
	}
}

func TestBodyIsLimited(t *testing.T) {
	s := newStage(t)
	r := s.right(true, "POST /v1/packages")
	r.body = `{"name":"` + strings.Repeat("x", 1<<20) + `"}`
	res, body := s.send(t, true, r)
	if res.StatusCode != http.StatusBadRequest || len(s.fake.asked()) > 0 {
		t.Errorf("%s %s", res.Status, body)
	}
	for name, text := range map[string]string{
		"unknown field": `{"nam":"x"}`, "two values": `{}{}`, "garbage after": `{} x`, "array": `[]`, "string": `"x"`,
		"wrong type": `{"name":5}`, "nothing": ``, "half": `{"name":`, "deep": strings.Repeat(`{"name":`, 20000), "NUL": "\x00",
	} {
		r := s.right(true, "POST /v1/packages")
		r.body = text
		res, body := s.send(t, true, r)
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), `"code":"usage"`) || len(s.fake.asked()) > 0 {
			t.Errorf("%s: %s %s", name, res.Status, body)
		}
	}
	for _, text := range []string{`{}`, `{"ids":[]}`, `{"all":false}`, `{"ids":["a"],"all":true}`} {
		r := s.right(true, "POST /v1/jobs/cancel")
		r.body = text
		if res, body := s.send(t, true, r); res.StatusCode != http.StatusBadRequest || len(s.fake.asked()) > 0 {
			t.Errorf("cancel %s: %s %s", text, res.Status, body)
		}
	}
}

// TestHoarderKeepsNobodyOut: a stranger with more connections than there is room
// for loses his own, and the owner gets through.
func TestHoarderKeepsNobodyOut(t *testing.T) {
	f := &fake{}
	r := start(t, f, "")
	c := client(t, r)
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	var hoard []net.Conn
	for range control.MaxStrangers + 50 {
		hoard = append(hoard, dial(t, r))
	}
	fresh := client(t, r)
	for _, c := range []*control.Client{c, fresh} {
		if _, err := c.Status(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, h := range hoard[:50] { // the oldest went, long before any deadline of theirs
		if err := gone(h); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGuessingIsSlow: wrong credentials wait ever longer, then get no answer at
// all; the right ones never wait behind them.
func TestGuessingIsSlow(t *testing.T) {
	s := newStage(t)
	slow := start(t, &fake{}, "") // without Hurry
	s.running, s.target = slow, slow.target
	_, s.port, _ = net.SplitHostPort(slow.target.Addr)
	var answered, dropped atomic.Int32
	var guessers sync.WaitGroup
	for range 100 {
		guessers.Go(func() {
			c, err := tls.Dial("tcp", slow.target.Addr, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			r := s.right(true, "GET /v1/status")
			auth("Bearer "+strings.Repeat("cd", 32))(r, s.world)
			_, _ = c.Write(r.bytes())
			if n, _ := io.ReadFull(c, make([]byte, 12)); n > 0 {
				answered.Add(1)
			} else {
				dropped.Add(1)
			}
		})
	}
	c := client(t, slow)
	for range 20 {
		if _, err := c.Status(t.Context()); err != nil {
			t.Error(err)
		}
	}
	guessers.Wait()
	t.Logf("%d answered, %d dropped", answered.Load(), dropped.Load())
	if answered.Load() < 10 || dropped.Load() == 0 {
		t.Errorf("of 100 guesses %d were answered, %d dropped", answered.Load(), dropped.Load())
	}
}

// TestUnsafeServersDoNotServe.
func TestUnsafeServersDoNotServe(t *testing.T) {
	cert, _, err := control.NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	good := control.ServerConfig{Service: &fake{}, Cert: cert, Key: [32]byte{1}}
	for name, test := range map[string]struct {
		addr string
		bad  func(c *control.ServerConfig)
	}{
		"every address":  {"0.0.0.0:0", func(*control.ServerConfig) {}},
		"another one":    {"127.0.0.2:0", func(*control.ServerConfig) {}},
		"no key":         {"127.0.0.1:0", func(c *control.ServerConfig) { c.Key = [32]byte{} }},
		"no certificate": {"127.0.0.1:0", func(c *control.ServerConfig) { c.Cert = tls.Certificate{} }},
		"no service":     {"127.0.0.1:0", func(c *control.ServerConfig) { c.Service = nil }},
	} {
		l, err := net.Listen("tcp", test.addr)
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue // macOS has no 127.0.0.2 until asked
		}
		if err != nil {
			t.Fatal(err)
		}
		c := good
		test.bad(&c)
		if err := control.NewServer(c).Serve(l); err == nil {
			t.Errorf("%s: it served", name)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener is left open", name)
		}
	}
}

// TestWithoutAPage the plain face has nothing at all.
func TestWithoutAPage(t *testing.T) {
	r := start(t, &fake{}, "", func(c *control.ServerConfig) { c.Monitor = nil })
	res, err := http.Get("http://" + r.target.Addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Error(res.Status)
	}
	if a, err := client(t, r).OpenMonitor(t.Context()); err == nil {
		t.Errorf("got %v", a.URL)
	}
}
