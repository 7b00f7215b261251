package control_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/control"
)

// request is what an attacker sends, before an attack twists it.
type request struct {
	method, target, host string // target as in the request line
	header               []string
	body                 string
}

func (r *request) add(line string) { r.header = append(r.header, line) }

// without drops headers that begin with prefix.
func (r *request) without(prefix string) {
	var kept []string
	for _, h := range r.header {
		if !strings.HasPrefix(h, prefix) {
			kept = append(kept, h)
		}
	}
	r.header = kept
}

func (r *request) bytes() []byte {
	s := fmt.Sprintf("%s %s HTTP/1.1\r\n", r.method, r.target)
	if r.host != "" {
		s += "Host: " + r.host + "\r\n"
	}
	for _, h := range r.header {
		s += h + "\r\n"
	}
	return fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", s, len(r.body), r.body)
}

// attack twists a request that would be right; the answer must be one of want.
type attack struct {
	name  string
	twist func(r *request, w world)
	want  []int
}

// world is what an attacker may know.
type world struct{ key, earlier, visit, port string }

func auth(bearer string) func(*request, world) {
	return func(r *request, _ world) { r.without("Authorization"); r.add("Authorization: " + bearer) }
}

func line(h string) func(*request, world) { return func(r *request, _ world) { r.add(h) } }

func host(f string) func(*request, world) {
	return func(r *request, w world) { r.host = strings.ReplaceAll(f, "PORT", w.port) }
}

func method(m string) func(*request, world) { return func(r *request, _ world) { r.method = m } }

func content(h string) func(*request, world) {
	return func(r *request, _ world) {
		r.without("Content-Type")
		if h != "" {
			r.add(h)
		}
	}
}

var (
	unproven = []int{http.StatusUnauthorized}
	foreign  = []int{http.StatusForbidden}
	noHost   = []int{http.StatusForbidden, http.StatusBadRequest}
)

// everywhere are the attacks that must fail on both faces.
func everywhere() []attack {
	return []attack{
		{"no token", func(r *request, _ world) { r.without("Authorization") }, unproven},
		{"empty token", auth("Bearer "), unproven},
		{"wrong token", auth("Bearer " + strings.Repeat("ab", 32)), unproven},
		{"zero token", auth("Bearer " + strings.Repeat("00", 32)), unproven},
		{"longer token", func(r *request, w world) { auth("Bearer "+w.key+"00")(r, w) }, unproven},
		{"truncated token", func(r *request, w world) { auth("Bearer "+w.key[:62])(r, w) }, unproven},
		{"token of the previous generation", func(r *request, w world) { auth("Bearer "+w.earlier)(r, w) }, unproven},
		{"token in the URL", func(r *request, w world) {
			r.without("Authorization")
			r.target += "?token=" + w.key + "&access_token=" + w.visit
		}, unproven},
		{"token as password", func(r *request, w world) {
			auth("Basic "+base64.StdEncoding.EncodeToString([]byte("berth:"+w.key)))(r, w)
		}, unproven},
		{"two tokens", func(r *request, w world) { r.add("Authorization: Bearer " + w.key) }, unproven},
		{"foreign Origin", line("Origin: https://evil.example"), foreign},
		{"null Origin", func(r *request, _ world) { r.without("Origin"); r.add("Origin: null") }, foreign},
		{"Origin of another port", line("Origin: http://127.0.0.1:1"), foreign},
		{"Origin that begins right", func(r *request, w world) { r.add("Origin: http://127.0.0.1:" + w.port + ".evil.example") }, foreign},
		{"foreign Referer", line("Referer: https://evil.example/"), foreign},
		{"Referer that begins right", func(r *request, w world) { r.add("Referer: http://127.0.0.1:" + w.port + "@evil.example/") }, foreign},
		{"another site fetches", line("Sec-Fetch-Site: cross-site"), foreign},
		{"another port fetches", line("Sec-Fetch-Site: same-site"), foreign},
		{"foreign Host", host("evil.example"), foreign},
		{"rebinding Host", host("evil.example:PORT"), foreign},
		{"Host localhost", host("localhost:PORT"), foreign},
		{"Host of IPv6", host("[::1]:PORT"), foreign},
		{"Host of another port", host("127.0.0.1:1"), foreign},
		{"Host without port", host("127.0.0.1"), foreign},
		{"Host with a dot", host("127.0.0.1.:PORT"), foreign},
		{"Host in decimal", host("2130706433:PORT"), foreign},
		{"no Host", host(""), noHost},
		{"two Hosts", func(r *request, w world) { r.add("Host: 127.0.0.1:" + w.port) }, noHost},
		{"whole URL", func(r *request, w world) { r.target = "http://127.0.0.1:" + w.port + r.target }, foreign},
		{"whole URL elsewhere", func(r *request, _ world) { r.target = "http://evil.example" + r.target }, foreign},
		{"preflight", func(r *request, w world) {
			r.without("Authorization")
			r.method = "OPTIONS"
			r.add("Origin: https://evil.example")
			r.add("Access-Control-Request-Method: POST")
		}, foreign},
		{"OPTIONS *", func(r *request, _ world) { r.method, r.target = "OPTIONS", "*" }, foreign},
		{"WebSocket", func(r *request, _ world) {
			r.method = "GET"
			r.header = append(r.header, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==")
		}, foreign},
		{"HTTP/2 upgrade", func(r *request, _ world) {
			r.header = append(r.header, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
		}, foreign},
		{"path that climbs", func(r *request, _ world) { r.target = "/v1/packages/.." + strings.TrimPrefix(r.target, "/v1") }, foreign},
		{"path with an empty step", func(r *request, _ world) { r.target = "/" + r.target }, foreign},
		{"HEAD", method("HEAD"), foreign},
		{"PUT", method("PUT"), foreign},
		{"PATCH", method("PATCH"), foreign},
		{"TRACE", method("TRACE"), foreign},
		{"CONNECT", func(r *request, w world) { r.method, r.target = "CONNECT", "127.0.0.1:"+w.port }, foreign},
		{"unknown method", method("BREW"), foreign},
	}
}

// byForm are the attacks that a form on a web page can make; they matter where
// something happens, at a POST.
func byForm() []attack {
	refused := []int{http.StatusUnsupportedMediaType}
	return []attack{
		{"no content type", content(""), refused},
		{"form", content("Content-Type: application/x-www-form-urlencoded"), refused},
		{"text form", content("Content-Type: text/plain"), refused},
		{"multipart form", content("Content-Type: multipart/form-data; boundary=x"), refused},
		{"JSON in text", content("Content-Type: text/plain; application/json"), refused},
		{"another charset", content("Content-Type: application/json; charset=utf-16"), refused},
		{"JSON-like", content("Content-Type: application/jsonp"), refused},
	}
}

// onTLS are right on the other face only.
func onTLS() []attack {
	return []attack{
		{"own Origin", func(r *request, w world) { r.add("Origin: https://127.0.0.1:" + w.port) }, foreign},
		{"Origin of the page", func(r *request, w world) { r.add("Origin: http://127.0.0.1:" + w.port) }, foreign},
		{"cookie", func(r *request, w world) { r.without("Authorization"); r.add("Cookie: token=" + w.key) }, foreign},
		{"bearer of the page", func(r *request, w world) { auth("Bearer "+w.visit)(r, w) }, unproven},
	}
}

func onPlain() []attack {
	return []attack{
		{"session key", func(r *request, w world) { auth("Bearer "+w.key)(r, w) }, unproven},
		{"cookie", func(r *request, w world) { r.without("Authorization"); r.add("Cookie: bearer=" + w.visit) }, unproven},
		{"Origin of the other face", func(r *request, w world) { r.without("Origin"); r.add("Origin: https://127.0.0.1:" + w.port) }, foreign},
		{"document from elsewhere", func(r *request, _ world) {
			r.header = append(r.header, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: document")
		}, foreign},
	}
}

// stage is a controller under attack, the second generation on its port.
type stage struct {
	*running
	world
	fake *fake
}

func newStage(t testing.TB) *stage {
	first := start(t, &fake{}, "", func(c *control.ServerConfig) { c.Key = [32]byte{9, 9, 9} })
	first.stop()
	f := &fake{}
	r := start(t, f, first.target.Addr)
	r.Hurry()
	_, port, _ := net.SplitHostPort(r.target.Addr)
	s := &stage{running: r, fake: f, world: world{
		key: hex.EncodeToString(r.target.Key[:]), earlier: hex.EncodeToString(first.target.Key[:]), port: port,
	}}
	s.visit = s.enter(t)
	return s
}

// enter goes the way of the page.
func (s *stage) enter(t testing.TB) string {
	a, err := s.OpenMonitor()
	if err != nil {
		t.Fatal(err)
	}
	res, body := s.send(t, false, s.visitRequest(a.Token))
	var v struct{ Bearer string }
	if res.StatusCode != http.StatusCreated || json.Unmarshal(body, &v) != nil || v.Bearer == "" {
		t.Fatalf("%s %s", res.Status, body)
	}
	return v.Bearer
}

func (s *stage) visitRequest(token string) *request {
	return &request{"POST", "/monitor/visit", "127.0.0.1:" + s.port, []string{
		"Content-Type: application/json", "Origin: http://127.0.0.1:" + s.port,
	}, `{"token":"` + token + `"}`}
}

// right is a request that is as it should be.
func (s *stage) right(overTLS bool, call string) *request {
	verb, path, _ := strings.Cut(call, " ")
	path = strings.NewReplacer("{verb}", "pause", "{package}", "p1", "{item}", "i1", "{destination}", "d1").Replace(path)
	r := &request{method: verb, target: path, host: "127.0.0.1:" + s.port}
	if overTLS {
		r.add("Authorization: Bearer " + s.key)
	} else {
		r.add("Authorization: Bearer " + s.visit)
		r.add("Origin: http://127.0.0.1:" + s.port)
	}
	if verb == "POST" {
		r.add("Content-Type: application/json")
		r.body = "{}"
		if strings.Contains(path, "/jobs/") {
			r.body = `{"all":true}`
		}
	}
	return r
}

// send delivers r over a connection of its own and answers what came back. The
// attacker does not care whose certificate it is.
func (s *stage) send(t testing.TB, overTLS bool, r *request) (*http.Response, []byte) {
	t.Helper()
	c, err := net.Dial("tcp", s.target.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if overTLS {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	if _, err := c.Write(r.bytes()); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: r.method})
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.target, err)
	}
	if res.Header.Get("Content-Type") == "text/event-stream" { // has no end
		body := make([]byte, 512)
		n, _ := res.Body.Read(body)
		return res, body[:n]
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.target, err)
	}
	return res, body
}

// faces are the calls of each face.
func faces(overTLS bool) (calls []string) {
	for call, page := range control.Calls() {
		if overTLS || page {
			calls = append(calls, call)
		}
	}
	return calls
}

// TestAttacks sends every attack to every call of both faces: all are refused
// and the controller is never asked for anything.
func TestAttacks(t *testing.T) {
	noLeaks(t)
	s := newStage(t)
	count := 0
	for _, overTLS := range []bool{true, false} {
		attacks := append(everywhere(), map[bool][]attack{true: onTLS(), false: onPlain()}[overTLS]...)
		for _, call := range faces(overTLS) {
			all := attacks
			if strings.HasPrefix(call, "POST") {
				all = append(all[:len(all):len(all)], byForm()...)
			}
			for _, a := range all {
				count++
				s.attack(t, overTLS, call, a)
			}
		}
	}
	t.Logf("%d attacks", count)
}

func (s *stage) attack(t *testing.T, overTLS bool, call string, a attack) {
	t.Helper()
	r := s.right(overTLS, call)
	a.twist(r, s.world)
	res, body := s.send(t, overTLS, r)
	ok := false
	for _, want := range a.want {
		ok = ok || res.StatusCode == want
	}
	if !ok {
		t.Errorf("TLS %v, %s, %s: %s %s", overTLS, call, a.name, res.Status, body)
	}
	if asked := s.fake.asked(); len(asked) > 0 {
		t.Fatalf("TLS %v, %s, %s: the controller was asked for %q", overTLS, call, a.name, asked)
	}
	if res.StatusCode != http.StatusBadRequest { // net/http's own, before any handler
		hardened(t, a.name, res.Header)
	}
	if strings.Contains(string(body), s.key) {
		t.Errorf("%s: the answer holds the key", a.name)
	}
}

func hardened(t *testing.T, name string, h http.Header) {
	t.Helper()
	for header, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
		"Access-Control-Allow-Origin": "", "Access-Control-Allow-Headers": "", "Location": "", "Set-Cookie": "",
	} {
		if h.Get(header) != want {
			t.Errorf("%s: %s is %q", name, header, h.Get(header))
		}
	}
	if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%s: policy %q", name, h.Get("Content-Security-Policy"))
	}
}

// TestRightRequestsArrive proves the attacks' starting point: untwisted, every
// one of those requests reaches the controller.
func TestRightRequestsArrive(t *testing.T) {
	s := newStage(t)
	for _, overTLS := range []bool{true, false} {
		for _, call := range faces(overTLS) {
			before := len(s.fake.asked())
			res, body := s.send(t, overTLS, s.right(overTLS, call))
			local := strings.HasSuffix(call, "openapi.json") || strings.HasSuffix(call, "/monitor")
			if res.StatusCode/100 != 2 || (len(s.fake.asked()) == before) != local {
				t.Errorf("TLS %v, %s: %s %s", overTLS, call, res.Status, body)
			}
			hardened(t, call, res.Header)
		}
	}
}

// TestStrangersLearnNothing: without proof every path is the same, whether there
// is something or not, but for the page's files on its own face.
func TestStrangersLearnNothing(t *testing.T) {
	s := newStage(t)
	for _, overTLS := range []bool{true, false} {
		for _, call := range []string{
			"GET /", "GET /app.js", "GET /debug/pprof/", "POST /monitor/visit", "GET /v1/", "GET /v1/nothing", "POST /v1/packages/../jobs/cancel", "GET //v1/jobs", "GET /v1", "GET /x/../v1/jobs", "GET /%76%31/jobs",
		} {
			r := s.right(overTLS, call)
			r.without("Authorization")
			res, body := s.send(t, overTLS, r)
			page := !overTLS && !strings.Contains(call, "v1/")
			if !page && res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden || page && res.StatusCode/100 == 2 && call != "GET /" {
				t.Errorf("TLS %v, %s: %s %s", overTLS, call, res.Status, body)
			}
		}
	}
	if asked := s.fake.asked(); len(asked) > 0 {
		t.Errorf("the controller was asked for %q", asked)
	}
}

// TestSecretsStayOutOfTheLog, at its most talkative, and out of what prints values.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	var log bytes.Buffer
	f := &fake{err: errors.New("something broke")}
	var config control.ServerConfig
	r := start(t, f, "", func(c *control.ServerConfig) {
		c.Key = [32]byte{0xca, 0xfe, 0xba, 0xbe, 0xca, 0xfe, 0xba, 0xbe}
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		config = *c
	})
	r.Hurry()
	_, port, _ := net.SplitHostPort(r.target.Addr)
	s := &stage{running: r, fake: f, world: world{key: hex.EncodeToString(r.target.Key[:]), earlier: strings.Repeat("e0", 32), port: port}}
	s.visit = s.enter(t)
	access, err := s.OpenMonitor()
	if err != nil {
		t.Fatal(err)
	}
	s.send(t, false, s.visitRequest(access.Token+"x"))
	for _, a := range append(everywhere(), onTLS()...) {
		r := s.right(true, "GET /v1/status")
		a.twist(r, s.world)
		s.send(t, true, r)
	}
	s.send(t, true, s.right(true, "GET /v1/status"))
	s.stop()
	fmt.Fprintf(&log, "%v %+v %#v %v %+v %#v %v %+v %#v", r.target, r.target, r.target, access, access, access, config, config, config)
	if log.Len() < 1000 {
		t.Fatalf("hardly anything was logged:\n%s", &log)
	}
	for _, secret := range []string{s.key, s.key[:16], s.visit, access.Token, s.earlier, "202, 254, 186", "202 254 186", "0xca, 0xfe"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q stands in the log:\n%s", secret, &log)
		}
	}
}

// TestThePageCanDoLittle: with its bearer, on its face, everything that is not
// for it does not exist.
func TestThePageCanDoLittle(t *testing.T) {
	s := newStage(t)
	for call, page := range control.Calls() {
		if page {
			continue
		}
		if res, body := s.send(t, false, s.right(false, call)); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s %s", call, res.Status, body)
		}
	}
	if asked := s.fake.asked(); len(asked) > 0 {
		t.Errorf("the controller was asked for %q", asked)
	}
}

// TestGetHasNoEffect: a GET of anything that acts, with every credential, acts not.
func TestGetHasNoEffect(t *testing.T) {
	s := newStage(t)
	for call := range control.Calls() {
		verb, path, _ := strings.Cut(call, " ")
		if _, both := control.Calls()["GET "+path]; verb == "GET" || both {
			continue
		}
		for _, overTLS := range []bool{true, false} {
			if res, body := s.send(t, overTLS, s.right(overTLS, "GET "+path)); res.StatusCode != http.StatusNotFound {
				t.Errorf("GET %s: %s %s", path, res.Status, body)
			}
		}
	}
	if asked := s.fake.asked(); len(asked) > 0 {
		t.Errorf("the controller was asked for %q", asked)
	}
}

func TestTokenWorksOnce(t *testing.T) {
	s := newStage(t)
	a, err := s.OpenMonitor()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{http.StatusCreated, http.StatusUnauthorized, http.StatusUnauthorized} {
		if res, body := s.send(t, false, s.visitRequest(a.Token)); res.StatusCode != want {
			t.Errorf("use %d: %s %s", i+1, res.Status, body)
		}
	}
	if res, body := s.send(t, false, s.visitRequest(strings.Repeat("x", 5000))); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a long body from a stranger: %s %s", res.Status, body)
	}
	for name, twist := range map[string]func(*request, world){
		"foreign Origin": line("Origin: https://evil.example"), "no Origin": func(r *request, _ world) { r.without("Origin") },
		"form": content("Content-Type: text/plain"), "rebinding Host": host("evil.example:PORT"),
		"GET": func(r *request, _ world) { r.method, r.target = "GET", r.target+"?token="+a.Token },
	} {
		b, _ := s.OpenMonitor()
		r := s.visitRequest(b.Token)
		twist(r, s.world)
		if res, body := s.send(t, false, r); res.StatusCode/100 != 4 || strings.Contains(string(body), "bearer") {
			t.Errorf("%s: %s %s", name, res.Status, body)
		}
		if res, body := s.send(t, false, s.visitRequest(b.Token)); res.StatusCode != http.StatusCreated {
			t.Errorf("%s used the token up: %s %s", name, res.Status, body)
		}
	}
}

// TestUsersFileLeadsToThePage: the one request from elsewhere that is answered,
// as browsers send it when a file of the user leads to the page.
func TestUsersFileLeadsToThePage(t *testing.T) {
	s := newStage(t)
	r := &request{method: "GET", target: "/", host: "127.0.0.1:" + s.port, header: []string{
		"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document",
	}}
	res, body := s.send(t, false, r)
	if res.StatusCode != http.StatusOK || string(body) != "page" {
		t.Errorf("%s %s", res.Status, body)
	}
	hardened(t, "page", res.Header)
	for _, dest := range []string{"iframe", "embed", "object", "image", "script", "empty"} {
		r.header[2] = "Sec-Fetch-Dest: " + dest
		if res, _ := s.send(t, false, r); res.StatusCode != http.StatusForbidden {
			t.Errorf("as %s: %s", dest, res.Status)
		}
	}
}
