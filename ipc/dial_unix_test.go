//go:build unix

package ipc

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDialingWhatAKilledEngineLeft: its socket is there, and nobody behind it.
func TestDialingWhatAKilledEngineLeft(t *testing.T) {
	l := noEngine(t)
	path := l.endpoint()
	_ = l.l.Close() // and the socket stays, as after a kill
	_, err := Dial(testContext(t), path, "outlook")
	only(t, "a dead socket", err, ErrPeer)
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the system's own error is lost: %v", err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err = Dial(testContext(t), path, "outlook")
	only(t, "no socket at all", err, ErrPeer)
}
