package tus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"berth/transfer"
	"berth/transfer/internal/peer"
)

// Open answers an upload at the server's offset, whatever limit is: tus can't
// rewind. No PATCH is under way until the first Write.
func (b *Backend) Open(ctx context.Context, o transfer.Object, h transfer.Handle, _ int64) (transfer.Upload, error) {
	u, err := b.resolve(h)
	if err != nil {
		return nil, err
	}
	n, ok := b.told(h)
	if !ok {
		if n, err = b.offset(ctx, u, o); err != nil {
			return nil, err
		}
	}
	plain := upload{b: b, ctx: ctx, url: u, handle: h, object: o, start: n, at: n, taken: n}
	sum, err := b.abilities(ctx)
	if err != nil {
		return nil, err
	}
	if sum.make != nil {
		return &blocks{upload: plain, sum: sum}, nil
	}
	return &plain, nil
}

// upload is one PATCH that lasts from the first Write to Close.
type upload struct {
	b      *Backend
	ctx    context.Context
	url    *url.URL
	handle transfer.Handle
	object transfer.Object
	start  int64
	at     int64 // where the next byte goes
	taken  int64 // where the caller's next byte goes
	body   *io.PipeWriter
	answer chan error // nil once the server took the whole PATCH
	failed error
}

func (u *upload) Offset() int64 { return u.start }

// admit refuses p after a failure and behind the announced end.
func (u *upload) admit(p []byte) error {
	if u.failed == nil && int64(len(p)) > u.object.Size-u.taken {
		u.failed = fmt.Errorf("%w: more than the %d bytes that were announced", transfer.ErrPermanent, u.object.Size)
	}
	if u.failed == nil {
		u.taken += int64(len(p))
	}
	return u.failed
}

func (u *upload) Write(p []byte) (int, error) {
	if err := u.admit(p); err != nil {
		return 0, err
	}
	if u.body == nil && len(p) > 0 {
		u.patch()
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := u.body.Write(p)
	u.at += int64(n)
	if err != nil {
		u.failed = u.reason(err)
	}
	return n, u.failed
}

// patch starts the request. Its body ends early with every error, so that a
// blocked Write always learns of it.
func (u *upload) patch() {
	r, w := io.Pipe()
	u.body, u.answer = w, make(chan error, 1)
	go func() {
		err := u.send(r)
		if err == nil {
			err = io.ErrClosedPipe // for a Write after the end; Close sees nil
			u.answer <- nil
		} else {
			u.answer <- err
		}
		r.CloseWithError(err)
	}()
}

func (u *upload) send(body io.Reader) error {
	req, err := u.b.request(u.ctx, http.MethodPatch, u.url, http.Header{
		"Content-Type":  {"application/offset+octet-stream"},
		"Upload-Offset": {strconv.FormatInt(u.start, 10)},
	}, body)
	if err != nil {
		return err
	}
	req.ContentLength = u.object.Size - u.start
	resp, err := u.b.do(u.ctx, req)
	if err != nil {
		return err
	}
	keepMessage(resp)
	if resp.StatusCode/100 != 2 {
		return u.b.failure("take the bytes", resp, true)
	}
	n, err := parseOffset(resp.Header.Get("Upload-Offset"))
	if err == nil && n != u.object.Size {
		err = fmt.Errorf("the tus server stopped at %d of %d bytes", n, u.object.Size)
	}
	return err
}

// reason prefers what the server said over what the pipe saw.
func (u *upload) reason(err error) error {
	select {
	case said := <-u.answer:
		u.answer <- said
		if said != nil {
			return said
		}
	default:
	}
	return peer.Cause(u.ctx, err)
}

var errClosed = fmt.Errorf("upload: %w", io.ErrClosedPipe)

// errPartial ends a PATCH whose rest comes later.
var errPartial = errors.New("the rest is sent later")

// Close waits for the server's answer. Before the last byte it cuts the request
// and asks what the server kept of it.
func (u *upload) Close() error {
	if u.body == nil {
		return u.failed
	}
	body := u.body
	u.body = nil
	if u.failed != nil {
		body.CloseWithError(u.failed)
		if said := <-u.answer; said != nil && errors.Is(u.failed, io.ErrClosedPipe) {
			u.failed = said
		}
		return u.failed
	}
	u.failed = errClosed
	if u.at == u.object.Size {
		body.Close()
		err := <-u.answer
		if err == nil {
			u.b.seen.Store(u.handle, u.at)
		}
		return err
	}
	body.CloseWithError(errPartial)
	if err := <-u.answer; err != nil && !errors.Is(err, errPartial) {
		return err
	}
	return u.settled()
}

// settled waits until the server's offset shows every byte of a cut request.
func (u *upload) settled() error {
	n, err := u.b.offset(u.ctx, u.url, u.object)
	if err != nil {
		return err
	}
	if n != u.at {
		return fmt.Errorf("the tus server kept %d of %d bytes; the rest is sent again", n, u.at)
	}
	return nil
}
