package transfer

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// unreadable is a server that keeps what it gets and shows nothing of it.
type unreadable struct{ mem }

func (unreadable) ReadAt(context.Context, Object, Handle, int64, int64) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}

// TestBlindServerFails: without any proof a job must not be sent again for ever.
func TestBlindServerFails(t *testing.T) {
	q := open(t, t.TempDir(), unreadable{mem{newServer()}})
	j := await(t, q, submit(t, q, random(100)).ID, in(Failed))
	if !strings.Contains(j.Error, "nothing proves") {
		t.Errorf("failed with %q", j.Error)
	}
}
