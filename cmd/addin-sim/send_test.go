package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"berth/control"
	"berth/ipc"
)

// TestExitCodesOfARegistration: that a controller runs which won't have this companion
// is another thing than that none runs.
func TestExitCodesOfARegistration(t *testing.T) {
	for _, c := range []struct {
		cause error
		want  int
	}{
		{ipc.ErrPeer, 4},
		{ipc.ErrRefused, 5},
		{ipc.ErrName, 5},
		{ipc.ErrVersion, 5},
		{ipc.ErrProtocol, 1},
		{context.Canceled, 1},
	} {
		err := unregistered(fmt.Errorf("register: %w", c.cause))
		if got := exitCodeOf(err); got != c.want || !errors.Is(err, c.cause) {
			t.Errorf("%v: %d, want %d", err, got, c.want)
		}
	}
	if got := exitCodeOf(&control.Error{Code: control.CodeUsage}); got != 2 {
		t.Errorf("an error of the controller's: %d", got)
	}
}
