package ipc

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"
)

// only fails unless err wraps want, and none of what would have it taken for another.
func only(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, which is not %q", what, err, want)
	}
	for _, other := range []error{ErrPeer, ErrRefused, ErrName, ErrAddress, ErrVersion, ErrProtocol, ErrClosed} {
		if errors.Is(err, other) && !errors.Is(want, other) {
			t.Errorf("%s: %v is %q too", what, err, other)
		}
	}
}

func TestDialingAnEngineThatHasGone(t *testing.T) {
	e := testEngine(t, Options{})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Dial(testContext(t), e.Endpoint(), "outlook")
	only(t, "a closed engine", err, ErrPeer)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the system's own error is lost: %v", err)
	}
}

// TestDialingAnEngineThatGoes: it hangs up before it has answered, with and without
// having read the hello.
func TestDialingAnEngineThatGoes(t *testing.T) {
	for _, read := range []bool{false, true} {
		l := noEngine(t)
		go func() {
			c, p, err := l.accept()
			if err != nil {
				return
			}
			if read {
				_, _ = c.read()
			}
			_ = c.close()
			_ = p.release()
		}()
		_, err := Dial(testContext(t), l.endpoint(), "outlook")
		only(t, "it hung up", err, ErrPeer)
	}
}

// TestAnEngineThatEndsRefusesNobody: who waits for room finds nobody there.
func TestAnEngineThatEndsRefusesNobody(t *testing.T) {
	for range 10 {
		e := testEngine(t, Options{Companions: 1})
		testClient(t, e, "first")
		failed := make(chan error, 1)
		go func() {
			_, err := Dial(testContext(t), e.Endpoint(), "second")
			failed <- err
		}()
		waitFor(t, func() bool { return e.Stats().Waiting == 1 })
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		only(t, "an engine that ends", <-failed, ErrPeer)
	}
}

// TestDialGivesUp: that the engine is gone would be a lie.
func TestDialGivesUp(t *testing.T) {
	e := testEngine(t, Options{Companions: 1})
	testClient(t, e, "first")
	bored := errors.New("bored")
	ctx, cancel := context.WithTimeoutCause(testContext(t), 50*time.Millisecond, bored)
	defer cancel()
	_, err := Dial(ctx, e.Endpoint(), "second")
	only(t, "a full engine", err, bored)
}

func TestDialTellsATakenNameFromTheRest(t *testing.T) {
	e := testEngine(t, Options{})
	testClient(t, e, "outlook")
	_, err := Dial(testContext(t), e.Endpoint(), "outlook")
	only(t, "a taken name", err, ErrName)
	for code, want := range map[uint16]error{refuseName: ErrName, refuseQuota: ErrRefused, refuseBroken: ErrRefused, 77: ErrRefused} {
		body := refusal{code: code, version: Version, text: "in words of its own"}.encode()
		_, err := Dial(testContext(t), otherEngine(t, frameRefused, body), "outlook")
		only(t, "refused", err, want)
	}
	for _, name := range []string{"", "a b", Controller} {
		_, err := Dial(testContext(t), e.Endpoint(), name)
		only(t, "a name that can't be one", err, ErrAddress)
	}
}
