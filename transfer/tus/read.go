package tus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"berth/transfer"
)

// ReadAt reads the upload back by GET, which tus leaves to the server: one that
// doesn't serve its uploads answers errors.ErrUnsupported.
func (b *Backend) ReadAt(ctx context.Context, o transfer.Object, h transfer.Handle, offset, n int64) (io.ReadCloser, error) {
	u, err := b.resolve(h)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	req, err := b.request(ctx, http.MethodGet, u, http.Header{
		"Range": {fmt.Sprintf("bytes=%d-%d", offset, offset+n-1)},
	}, nil)
	if err != nil {
		return nil, err
	}
	resp, err := b.do(ctx, req)
	if err != nil {
		return nil, err
	}
	body, err := ranged(resp, offset)
	if err == nil {
		return &readBack{io.LimitReader(body, n), body, n}, nil
	}
	keepMessage(resp)
	if !errors.Is(err, errRefused) {
		return nil, err
	}
	return nil, b.refused(ctx, o, h, resp)
}

var errRefused = errors.New("refused")

// ranged positions the body at offset, also when the server ignored the range.
func ranged(resp *http.Response, offset int64) (io.ReadCloser, error) {
	switch resp.StatusCode {
	case http.StatusOK:
		if _, err := io.CopyN(io.Discard, resp.Body, offset); err != nil {
			return nil, fmt.Errorf("reading back: %w", err)
		}
		return resp.Body, nil
	case http.StatusPartialContent:
		want := fmt.Sprintf("bytes %d-", offset)
		if got := resp.Header.Get("Content-Range"); !strings.HasPrefix(got, want) {
			return nil, fmt.Errorf("the tus server answered the range %.60q instead of %s", got, want)
		}
		return resp.Body, nil
	}
	return nil, errRefused
}

// refused tells a server that doesn't serve uploads from one that lost this one.
func (b *Backend) refused(ctx context.Context, o transfer.Object, h transfer.Handle, resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		u, err := b.resolve(h)
		if err != nil {
			return err
		}
		if _, err := b.head(ctx, u, o); err != nil {
			return err
		}
		return fmt.Errorf("%w: tus server %s doesn't serve uploads back (%s)", errors.ErrUnsupported, b.endpoint.Host, resp.Status)
	}
	return b.failure("read the upload back", resp, true)
}

// readBack makes a body that ends early an error instead of a short file.
type readBack struct {
	r    io.Reader
	body io.Closer
	left int64
}

func (r *readBack) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.left -= int64(n)
	if err == io.EOF && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *readBack) Close() error { return r.body.Close() }
