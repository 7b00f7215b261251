package control

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// mute is a controller to which nothing matters.
type mute struct{ asked int }

func (m *mute) Status(context.Context) (s Status, err error)      { m.asked++; return }
func (m *mute) List(context.Context, Filter) (j []Job, err error) { m.asked++; return }
func (m *mute) Do(context.Context, Verb, Select) (o []Outcome, err error) {
	m.asked++
	return
}
func (m *mute) Watch(context.Context) iter.Seq[Event] {
	m.asked++
	return func(func(Event) bool) {}
}
func (m *mute) New(context.Context, NewPackage) (p Package, err error)       { m.asked++; return }
func (m *mute) AddFile(context.Context, string, AddFile) (i Item, err error) { m.asked++; return }
func (m *mute) RemoveItem(context.Context, string, string) (err error)       { m.asked++; return }
func (m *mute) Package(context.Context, string) (p Package, err error)       { m.asked++; return }
func (m *mute) Commit(context.Context, string) (j Job, err error)            { m.asked++; return }
func (m *mute) Discard(context.Context, string) (err error)                  { m.asked++; return }
func (m *mute) Destinations(context.Context) (d []Destination, err error)    { m.asked++; return }
func (m *mute) TestDestination(context.Context, string) (err error)          { m.asked++; return }
func (m *mute) Quit(context.Context) (err error)                             { m.asked++; return }

// FuzzBody gives any bytes as the body of every call that takes one: an answer
// in JSON comes back, and a body that is refused reaches nobody.
func FuzzBody(f *testing.F) {
	paths := []string{"/v1/jobs/cancel", "/v1/packages", "/v1/packages/p/items", "/v1/packages/p/commit", "/v1/destinations/d/test", "/v1/quit"}
	for i := range paths {
		for _, s := range []string{`{}`, `{"all":true}`, `{"name":"n","destination":"d"}`, `{"path":"/p","name":"n"}`, `{"ids":["a"]}`, `{}{}`, "\xff", `[[[[`} {
			f.Add(uint8(i), []byte(s))
		}
	}
	service := &mute{}
	mux := NewServer(ServerConfig{Service: service}).mux(faceTLS)
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		service.asked = 0
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", paths[int(which)%len(paths)], bytes.NewReader(body))
		mux.ServeHTTP(w, r)
		if (w.Code < 300) != (service.asked == 1) {
			t.Fatalf("status %d, asked %d times", w.Code, service.asked)
		}
		if w.Code >= 300 && (!json.Valid(w.Body.Bytes()) || w.Code != 400) {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if service.asked == 1 && !json.Valid(body) {
			t.Fatalf("taken: %q", body)
		}
	})
}

// FuzzPort gives any bytes to the port itself: no stranger's bytes make the
// controller do anything, and every connection ends.
func FuzzPort(f *testing.F) {
	for _, s := range []string{
		"", "\x16", "\x16\x03\x01\x00\x05hello", "\x00", "GET / HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:9\r\nAuthorization: Bearer 00\r\n\r\n",
		"POST /monitor/visit HTTP/1.1\r\nHost: 127.0.0.1:9\r\nOrigin: http://127.0.0.1:9\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
		"POST /v1/quit HTTP/1.1\r\nHost: 127.0.0.1:9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n", "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	cert, _, err := NewCertificate()
	if err != nil {
		f.Fatal(err)
	}
	service := &mute{}
	s := NewServer(ServerConfig{Service: service, Cert: cert, Key: [32]byte{1}, Monitor: nil})
	s.failures.SetLimit(1e9)
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	f.Cleanup(func() { _ = s.Shutdown(context.Background()); serving.Wait() })
	f.Fuzz(func(t *testing.T, data []byte) {
		near, far := net.Pipe()
		l.conns <- far
		_ = near.SetDeadline(time.Now().Add(20 * time.Millisecond))
		answer := make(chan []byte)
		go func() {
			buf := make([]byte, 4096)
			n, _ := near.Read(buf)
			answer <- buf[:n]
		}()
		_, _ = near.Write(data)
		got := <-answer
		_ = near.Close()
		if strings.HasPrefix(string(got), "HTTP/1.1 2") || service.asked > 0 {
			t.Fatalf("answered %q", got)
		}
	})
}

// pipes is a listener on "127.0.0.1:9" without a network.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }

// FuzzStream reads any bytes as a watch stream.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		"", ":\n\n", "data: {\"type\":\"ready\"}\n\n", "data:{\"type\":\ndata:\"ready\"}\r\n\r\n", "data: {}\n", "event: x\nid: 1\ndata: {}\n\n", "data\n\n", "data: [\n\n", "\xef\xbb\xbfdata: {}\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkStream(t, data) })
}

func checkStream(t testing.TB, data []byte) {
	events := 0
	_ = scan(bytes.NewReader(data), func() {}, func(Event) bool { events++; return true })
	if events > bytes.Count(data, []byte("data:")) {
		t.Fatalf("%d events in %q", events, data)
	}
}

// FuzzStreamRoundTrip: what the server writes the client reads, whatever the
// names of files are.
func FuzzStreamRoundTrip(f *testing.F) {
	f.Add("id", "name\n\ndata: x", "err\r\n")
	f.Add("", "\u2028 \x00 ä", ":")
	f.Fuzz(func(t *testing.T, id, name, reason string) {
		if !utf8.ValidString(id) || !utf8.ValidString(name) || !utf8.ValidString(reason) {
			return // JSON replaces what is no text
		}
		box, w, sent := newMailbox(), httptest.NewRecorder(), []Event{
			{Type: EventJob, Job: &Job{ID: id + "1", Name: name, Error: reason, Links: []string{}, Items: []Item{{ID: id}}}},
			{Type: EventReady}, {Type: EventRemoved, ID: id + "2"},
		}
		for _, e := range sent {
			box.put(e)
		}
		box.end()
		send(t.Context(), w, http.NewResponseController(w), box)
		var got []Event
		if err := scan(w.Body, func() {}, func(e Event) bool { got = append(got, e); return true }); err != nil || !reflect.DeepEqual(got, sent) {
			t.Fatalf("%v\nsent %+v\ngot  %+v", err, sent, got)
		}
	})
}

// FuzzItem reads any bytes as the header and the reply of an item from memory.
func FuzzItem(f *testing.F) {
	header, err := EncodeItemHeader(ItemHeader{"p", "n"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(header)
	f.Add(EncodeItemReply(Item{ID: "i", Name: "n"}, nil))
	f.Add(EncodeItemReply(Item{}, usage("m", "n")))
	f.Add([]byte(`{"id":"x","error":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) { checkItem(t, data) })
}

func checkItem(t testing.TB, data []byte) {
	if h, err := DecodeItemHeader(data); err == nil {
		again, err := EncodeItemHeader(h)
		if back, e := DecodeItemHeader(again); err != nil || e != nil || back != h {
			t.Fatalf("%q: %+v became %+v", data, h, back)
		}
	}
	if it, err := DecodeItemReply(data); err == nil {
		if back, err := DecodeItemReply(EncodeItemReply(it, nil)); err != nil || back != it {
			t.Fatalf("%q: %+v became %+v, %v", data, it, back, err)
		}
	}
}
