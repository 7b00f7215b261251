package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Carry hands body, whatever its length, to a service of the controller and
// answers its reply: open, stream, wait for the one message that comes back. Errors are
// those of Open, of the Writer, of Recv, and body's own; io.ErrUnexpectedEOF: the service
// has closed without an answer.
func (c *Client) Carry(ctx context.Context, service string, header []byte, body io.Reader) (reply []byte, err error) {
	s, err := c.Open(ctx, Controller+"/"+service, header)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	w := s.Writer(ctx)
	defer w.Abandon()
	read := &watchedReader{Reader: body}
	if _, err = w.ReadFrom(read); err == nil {
		err = w.Close()
	}
	if read.err != nil {
		_ = s.Fail(read.err.Error())
		return nil, read.err
	}
	if errors.Is(err, ErrNoMemory) && !errors.Is(err, ErrPeer) { // the session goes on, and the service waits for the rest
		_ = s.Fail(err.Error())
		return nil, err
	}
	m, recvErr := s.message(ctx)
	if recvErr != nil {
		if err == nil || errors.Is(err, io.ErrClosedPipe) {
			err = recvErr
		}
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s has closed without an answer: %w", service, io.ErrUnexpectedEOF)
		}
		return nil, err
	}
	// A service may answer before it has read everything; its word counts then.
	defer m.Release()
	return m.clone()
}

// watchedReader tells a failure of the source from one of the lane.
type watchedReader struct {
	io.Reader
	err error
}

func (w *watchedReader) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}
