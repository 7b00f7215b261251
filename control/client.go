package control

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"
)

// Target is where a controller listens and how it proves itself: what the port
// record says.
type Target struct {
	Addr       string   // "127.0.0.1:port"
	CertSHA256 [32]byte // of the certificate's DER form
	Key        [32]byte // of the session; sent only to who has that certificate
}

// String is safe to log.
func (t Target) String() string { return t.Addr }

// GoString keeps the key out of %#v too.
func (t Target) GoString() string { return fmt.Sprintf("control.Target{Addr:%q}", t.Addr) }

// Client talks to the controller of a session and follows it through restarts.
// Its zero value with Resolve set is ready; it must not be copied after first
// use, and may be used by many goroutines. It is a [Service].
//
// Calls fail with an [*Error], or with the context's error. A call that can be
// repeated safely is repeated when the controller was replaced under way; one
// that can't is repeated only when it is certain that it never arrived.
type Client struct {
	// Resolve answers where the controller is now. It is called before the first
	// call and whenever the present target fails; it may wait for a controller
	// until ctx ends, or start one.
	Resolve func(ctx context.Context) (Target, error)

	mu   sync.Mutex
	link *link // nil until resolved
}

var _ Service = (*Client)(nil)

// link is the way to one generation.
type link struct {
	target    Target
	transport *http.Transport
}

const (
	tries    = 6                      // of one call, the first included
	pause    = 50 * time.Millisecond  // before the second; doubles
	maxReply = 256 << 20              // bytes of an answer
	maxPause = 500 * time.Millisecond // between two tries of a call
	maxWatch = 2 * time.Second        // between two tries of a watch
)

// Close drops idle connections. The client can be used again.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		c.link.transport.CloseIdleConnections()
		c.link = nil
	}
}

// reach answers the link to use. Failed is the one that has just failed: the
// target is then looked up again, unless another call has done so already.
func (c *Client) reach(ctx context.Context, failed *link) (*link, error) {
	c.mu.Lock()
	now := c.link
	c.mu.Unlock()
	if now != nil && now != failed {
		return now, nil
	}
	if c.Resolve == nil {
		return nil, usage("control.Client.Resolve is not set", "")
	}
	t, err := c.Resolve(ctx) // without the lock: it may wait long
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	if err := checkAddr(t.Addr); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil && c.link.target == t {
		return c.link, nil
	}
	if c.link != nil {
		c.link.transport.CloseIdleConnections()
	}
	c.link = &link{t, newTransport(t)}
	return c.link, nil
}

func unavailable(ctx context.Context, err error) error {
	var known *Error
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.As(err, &known) {
		return known
	}
	return &Error{
		Code:    CodeUnavailable,
		Message: "no controller answers: " + err.Error(),
		Next:    "Start one with `controller`, or see `controller doctor`.",
		Cause:   err,
	}
}

// call is one request of the API.
type call struct {
	method, path string
	in           any  // nil: no body
	repeatable   bool // running it twice is running it once
}

// run performs a call and decodes its answer into out unless that is nil.
func (c *Client) run(ctx context.Context, k call, out any) error {
	var body []byte
	if k.in != nil {
		var err error
		if body, err = json.Marshal(k.in); err != nil {
			return usage("the request can't be encoded: "+err.Error(), "")
		}
	}
	var failed *link
	for try := 1; ; try++ {
		l, err := c.reach(ctx, failed)
		if err != nil {
			return err
		}
		again, err := l.exchange(ctx, k, body, out)
		if err == nil || !again || try == tries {
			return err
		}
		failed = l
		if err := sleep(ctx, try, maxPause); err != nil {
			return err
		}
	}
}

// sleep waits before another try: doubling, with jitter, so that the companions
// of a session don't all come back at once.
func sleep(ctx context.Context, try int, most time.Duration) error {
	d := min(pause<<min(try-1, 10), most)
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exchange sends one request. Again tells whether another try, at a target looked
// up anew, may help and can't do harm.
func (l *link) exchange(ctx context.Context, k call, body []byte, out any) (again bool, err error) {
	sent := false // whether anything of the request can have reached a server
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = true }})
	req, err := l.request(ctx, k.method, k.path, body)
	if err != nil {
		return false, err
	}
	res, err := l.transport.RoundTrip(req)
	if err != nil {
		return !sent || k.repeatable, unavailable(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return k.repeatable, unavailable(ctx, err)
	}
	if res.StatusCode >= 300 {
		// A controller that does not know this key has done nothing: it may be
		// the next one already, behind the same certificate no longer valid here.
		return res.StatusCode == http.StatusUnauthorized, failure(res, data)
	}
	if out == nil {
		return false, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return false, &Error{Code: CodeFailed, Message: "the controller's answer makes no sense: " + err.Error(), Cause: err,
			Next: "Controller and program may be of different versions: see `controller version`."}
	}
	return false, nil
}

func (l *link) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+l.target.Addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, usage("the request can't be made: "+err.Error(), "")
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+hex.EncodeToString(l.target.Key[:]))
	return req, nil
}

func failure(res *http.Response, data []byte) error {
	e := &Error{}
	if json.Unmarshal(data, e) != nil || e.Message == "" {
		e = &Error{Code: CodeFailed, Message: "the controller answered " + res.Status}
	}
	return e
}

// path joins segments into a path of the API, each escaped.
func path(segments ...string) string {
	p := "/v1"
	for _, s := range segments {
		p += "/" + url.PathEscape(s)
	}
	return p
}
