package tus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"berth/transfer"
	"berth/transfer/internal/peer"
)

// maxBody bounds what is read of an answer: enough for a message.
const maxBody = 2 << 10

// request makes a request with the headers that every one carries.
func (b *Backend) request(ctx context.Context, method string, u *url.URL, h http.Header, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	for k, v := range h {
		req.Header[k] = v
	}
	req.Header.Set("Tus-Resumable", version)
	auth, err := b.auth.Get(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: credentials for %s: %w", transfer.ErrUnauthorized, b.endpoint.Host, err)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	return req, nil
}

// short does a request whose answer is small, within the server's patience. The
// answer's body is read, cut to maxBody and closed; message holds it.
func (b *Backend) short(ctx context.Context, method string, u *url.URL, h http.Header) (*http.Response, error) {
	limited, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	req, err := b.request(limited, method, u, h, nil)
	if err != nil {
		return nil, err
	}
	resp, err := b.do(ctx, req)
	if err != nil {
		return nil, err
	}
	keepMessage(resp)
	return resp, nil
}

// do sends a request. Whoever knows an upload's address may read and change it,
// so an error names the method and the host alone.
func (b *Backend) do(ctx context.Context, req *http.Request) (*http.Response, error) {
	resp, err := b.client.Do(req)
	if err == nil {
		return resp, nil
	}
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return nil, peer.Cause(ctx, fmt.Errorf("%s %s: %w", req.Method, req.URL.Host, err))
}

// keepMessage replaces the body by its first bytes, so that the connection is
// free (or closed, when the server had more to say).
func keepMessage(resp *http.Response) {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	resp.Body.Close()
	resp.Body = io.NopCloser(strings.NewReader(string(text)))
}

// offset asks until the server says twice that it holds the same.
func (b *Backend) offset(ctx context.Context, u *url.URL, o transfer.Object) (int64, error) {
	return peer.Agree(ctx, func(ctx context.Context) (int64, error) { return b.head(ctx, u, o) })
}

func (b *Backend) head(ctx context.Context, u *url.URL, o transfer.Object) (int64, error) {
	resp, err := b.short(ctx, http.MethodHead, u, nil)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode/100 != 2 {
		return 0, b.failure("continue the upload", resp, true)
	}
	return parseState(resp.Header, o.Size)
}

// parseState reads what a server says about an upload. An upload of another
// length isn't ours: it counts as gone.
func parseState(h http.Header, size int64) (int64, error) {
	n, err := parseOffset(h.Get("Upload-Offset"))
	if err != nil {
		return 0, err
	}
	if s := h.Get("Upload-Length"); s != "" && s != strconv.FormatInt(size, 10) {
		return 0, fmt.Errorf("%w: the server keeps an upload of %.20s bytes there, not of %d", transfer.ErrGone, s, size)
	}
	if n > size {
		return 0, fmt.Errorf("%w: the server holds %d bytes of an upload of %d", transfer.ErrGone, n, size)
	}
	return n, nil
}

// parseOffset takes decimal digits only: strconv would also take a sign.
func parseOffset(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("the tus server answered the offset %.40q, which is no number", s)
	}
	return int64(n), nil
}

// failure turns an answer into an error of the right class. existing tells a
// request about an upload from one that creates it: a server may answer 403 for
// an upload that it has forgotten.
func (b *Backend) failure(what string, resp *http.Response, existing bool) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	said := string(text)
	if u := resp.Request.URL; *u != *b.endpoint {
		said = hide(u, said)
	}
	err := fmt.Errorf("tus server %s could not %s: %s%s", b.endpoint.Host, what, resp.Status, message(said))
	if class := classify(resp.StatusCode, existing); class != nil {
		return fmt.Errorf("%w: %w", class, err)
	}
	return err
}

// hide takes an upload's address out of what a server or a proxy said about it.
func hide(u *url.URL, said string) string {
	for _, s := range []string{u.RequestURI(), u.EscapedPath(), path.Base(u.EscapedPath())} {
		if len(s) >= 8 { // a shorter one is no secret, and may be a word
			said = strings.ReplaceAll(said, s, "(its address)")
		}
	}
	return said
}

func classify(status int, existing bool) error {
	switch status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return transfer.ErrUnauthorized
	case http.StatusNotFound, http.StatusGone:
		if existing {
			return transfer.ErrGone
		}
		return transfer.ErrPermanent
	case http.StatusForbidden:
		if existing {
			return transfer.ErrGone
		}
		return transfer.ErrUnauthorized
	case http.StatusConflict, http.StatusLocked, http.StatusRequestTimeout,
		http.StatusTooManyRequests, http.StatusTooEarly, statusChecksum:
		return nil
	}
	if status/100 == 3 || status/100 == 4 {
		return transfer.ErrPermanent
	}
	return nil
}

// statusChecksum is what a server answers whose copy of a chunk differs.
const statusChecksum = 460

// message makes the server's words fit for a person: one line, no control
// characters, not too long.
func message(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if s = strings.TrimSpace(s); s == "" {
		return ""
	}
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return ": " + s
}
