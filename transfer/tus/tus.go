// Package tus uploads to any server of the tus 1.0 protocol: creation, resume at
// the server's offset, streaming, termination, and read-back where the server
// also serves what it stores.
//
// tus can't rewind: what a server holds stays, and a resumed upload continues
// behind it. The caller checks the prefix and begins anew if it is not its own.
package tus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/transfer"
	"berth/transfer/internal/peer"
)

// Config says where a tus server is and how to be let in.
type Config struct {
	// URL is the creation endpoint, such as https://host/files/.
	URL string
	// Authorization answers the whole value of the Authorization header; nil
	// sends none. It is asked for every request and never sent to another host.
	Authorization func(context.Context) (string, error)
	// RootCAs replaces the system's certificate authorities when not nil.
	RootCAs *x509.CertPool
	// Link is a template for links, https://host/{id}/{name}; empty answers the
	// upload's own URL, known once the upload has begun.
	Link string
	// Patience is how long a server may move nothing: 2 minutes if zero.
	Patience time.Duration
	// Dial replaces the system's way to connect, proxies included; nil keeps it.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Backend is a [transfer.Backend]; it is also a Reader, Linker and Prober. It is
// safe for concurrent use and keeps idle connections until Close.
type Backend struct {
	endpoint *url.URL
	auth     peer.Secret
	link     peer.Template
	client   *http.Client
	patience time.Duration
	seen     sync.Map // transfer.Handle to int64: offsets the server just told us

	mu    sync.Mutex // guards what follows
	asked bool       // the server's abilities are known
	sum   checksum
}

const (
	version         = "1.0.0"
	defaultPatience = 2 * time.Minute
	maxHeader       = 64 << 10
	idleConns       = 16
)

// New checks cfg; it doesn't connect.
func New(cfg Config) (*Backend, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, errors.New("tus destination: no address: want http(s)://host/path/ without a user")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("tus destination %s: want http(s)://host/path/ without a user", u.Redacted())
	}
	link := peer.Template(cfg.Link)
	if link != "" {
		if err := link.Check(); err != nil {
			return nil, fmt.Errorf("tus link: %w", err)
		}
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	b := &Backend{endpoint: u, auth: cfg.Authorization, link: link, patience: cfg.Patience}
	b.client = &http.Client{Transport: transport(cfg), CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a redirect could carry bytes and credentials to a stranger
	}}
	return b, nil
}

// transport speaks HTTP/1.1 alone: one upload has a connection of its own, so
// that cancelling it frees exactly its own writes.
func transport(cfg Config) *http.Transport {
	dial, proxy := cfg.Dial, http.ProxyFromEnvironment
	if dial == nil {
		dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
	} else {
		proxy = nil
	}
	return &http.Transport{
		Proxy: proxy,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return peer.Watch(c, cfg.Patience), nil
		},
		TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    30 * time.Second,
		ResponseHeaderTimeout:  cfg.Patience,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    idleConns,
		IdleConnTimeout:        min(60*time.Second, cfg.Patience),
		DisableCompression:     true,
	}
}

// Close drops idle connections. Uploads that are under way go on.
func (b *Backend) Close() error {
	b.client.CloseIdleConnections()
	return nil
}

// Begin creates an upload. Where a first call's answer was lost, an empty upload
// stays on the server until it expires: tus names no way to find it again. By
// IDKey an administrator can tell whose it was.
func (b *Backend) Begin(ctx context.Context, o transfer.Object) (transfer.Handle, error) {
	resp, err := b.short(ctx, http.MethodPost, b.endpoint, http.Header{
		"Upload-Length":   {strconv.FormatInt(o.Size, 10)},
		"Upload-Metadata": {meta(o)},
	})
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusCreated {
		return "", b.failure("create an upload", resp, false)
	}
	u, err := b.location(resp.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	h := transfer.Handle(u.String())
	b.seen.Store(h, int64(0))
	return h, nil
}

// told is the server's offset if it told us with its last answer and nothing was
// sent since. It saves small objects two round trips; each word is used once.
func (b *Backend) told(h transfer.Handle) (int64, bool) {
	n, ok := b.seen.LoadAndDelete(h)
	if !ok {
		return 0, false
	}
	return n.(int64), true
}

// IDKey is the key of the object's ID in the metadata of an upload.
const IDKey = "berth-id"

// meta is the Upload-Metadata header: keys in order, values in base64.
func meta(o transfer.Object) string {
	m := map[string]string{"filename": o.Name, "filetype": o.Type, IDKey: o.ID}
	var pairs []string
	for k, v := range m {
		if v != "" {
			pairs = append(pairs, k+" "+base64.StdEncoding.EncodeToString([]byte(v)))
		}
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ",")
}

// location resolves what the server calls the new upload. It has to lie on the
// same host: the address gets our credentials with every request.
func (b *Backend) location(s string) (*url.URL, error) {
	u, err := b.endpoint.Parse(s)
	if err != nil || s == "" {
		return nil, errors.New("the tus server created an upload without a usable address")
	}
	if u.Scheme != b.endpoint.Scheme || u.Host != b.endpoint.Host || u.User != nil {
		return nil, fmt.Errorf("%w: the tus server %s://%s puts uploads at %s://%s; use that address as the destination, or let the server trust its proxy's headers",
			transfer.ErrPermanent, b.endpoint.Scheme, b.endpoint.Host, u.Scheme, u.Host)
	}
	u.Fragment = ""
	return u, nil
}

// resolve turns a handle of ours back into the address to speak to.
func (b *Backend) resolve(h transfer.Handle) (*url.URL, error) {
	if h == "" {
		return nil, transfer.ErrGone
	}
	u, err := b.location(string(h))
	if err != nil {
		return nil, errors.Join(transfer.ErrGone, err)
	}
	return u, nil
}

// Commit checks that the server holds the whole object, unless it has just said
// so: a tus upload is final with its last byte.
func (b *Backend) Commit(ctx context.Context, o transfer.Object, h transfer.Handle) error {
	u, err := b.resolve(h)
	if err != nil {
		return err
	}
	n, ok := b.told(h)
	if !ok {
		// One look is enough: a complete upload doesn't change any more.
		if n, err = b.head(ctx, u, o); err != nil {
			return err
		}
	}
	if n != o.Size {
		return fmt.Errorf("the tus server holds %d of %d bytes: it isn't complete yet", n, o.Size)
	}
	return nil
}

// Abort terminates the upload. A server without termination keeps it until it
// expires, which is not an error of ours.
func (b *Backend) Abort(ctx context.Context, _ transfer.Object, h transfer.Handle) error {
	b.told(h)
	u, err := b.resolve(h)
	if err != nil {
		return nil // nothing of ours can be found
	}
	resp, err := b.short(ctx, http.MethodDelete, u, nil)
	if err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusNoContent, http.StatusOK, http.StatusNotFound, http.StatusGone,
		http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return nil
	}
	return b.failure("remove the upload", resp, false)
}

// Link is the template's, or the upload's own URL once there is one.
func (b *Backend) Link(o transfer.Object, h transfer.Handle) (string, bool) {
	if l, ok := b.link.Link(o); ok {
		return l, true
	}
	return string(h), h != ""
}

// Probe asks for the server's abilities, which needs the same credentials.
func (b *Backend) Probe(ctx context.Context) error {
	resp, err := b.short(ctx, http.MethodOptions, b.endpoint, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return b.failure("answer", resp, false)
	}
	if v := resp.Header.Get("Tus-Version"); !strings.Contains(v, version) {
		return fmt.Errorf("%w: %s answers, but it is no tus %s server (Tus-Version: %.40q)", transfer.ErrPermanent, b.endpoint.Redacted(), version, v)
	}
	return nil
}
