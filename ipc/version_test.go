package ipc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// bothNumbers checks that an error of programs of two versions names both.
func bothNumbers(t *testing.T, err error, mine, other uint16) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint("version ", mine)) || !strings.Contains(err.Error(), fmt.Sprint("version ", other)) {
		t.Errorf("versions %d and %d, but it says: %v", mine, other, err)
	}
}

// TestACompanionOfAnotherVersion dials a real engine with the hello of older and
// newer builds, whose bodies may be of any length.
func TestACompanionOfAnotherVersion(t *testing.T) {
	e := testEngine(t, Options{})
	for _, v := range []uint16{0, Version - 1, Version + 1, 65535} {
		body := hello{version: v, pid: 1, name: "outlook"}.encode()
		for _, b := range [][]byte{body[:12], body, append(body, make([]byte, 500)...)} {
			c, _, err := dialConn(testContext(t), e.Endpoint())
			if err != nil {
				t.Fatal(err)
			}
			if err := c.write(frameHello, b); err != nil {
				t.Fatal(err)
			}
			f, err := c.read()
			if err != nil || f.kind != frameRefused {
				t.Fatalf("version %d was answered with frame %d, %v", v, f.kind, err)
			}
			r, err := decodeRefusal(f.body)
			if err != nil || r.code != refuseVersion || r.version != Version {
				t.Errorf("refused with %+v, %v", r, err)
			}
			bothNumbers(t, errors.New(r.text), Version, v)
			_ = c.close()
		}
	}
	testClient(t, e, "outlook") // the engine goes on
}

// noEngine listens where an engine would.
func noEngine(t *testing.T) *listener {
	t.Helper()
	path, err := endpointIn(testSession(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.close() })
	return l
}

// otherEngine answers one hello with one frame.
func otherEngine(t *testing.T, kind uint8, body []byte) (endpoint string) {
	t.Helper()
	l := noEngine(t)
	served := make(chan struct{})
	go func() {
		defer close(served)
		c, p, err := l.accept()
		if err != nil {
			return
		}
		if f, err := c.read(); err == nil && f.kind == frameHello {
			_ = c.write(kind, body)
		}
		_, _ = c.read() // until the companion hangs up
		_ = c.close()
		_ = p.release()
	}()
	t.Cleanup(func() {
		_ = l.close()
		<-served
	})
	return l.endpoint()
}

// TestAnEngineOfAnotherVersion has the real client dial engines of other builds:
// one that refuses, and one that would take it.
func TestAnEngineOfAnotherVersion(t *testing.T) {
	for _, v := range []uint16{0, Version - 1, Version + 1, 65535} {
		refused := refusal{code: refuseVersion, version: v, text: "in words of its own"}.encode()
		welcomed := welcome{version: v, slots: 256, unit: 4096, window: 1}.encode()
		for _, f := range []frame{
			{kind: frameRefused, body: refused}, {kind: frameRefused, body: refused[:4]},
			{kind: frameWelcome, body: welcomed}, {kind: frameWelcome, body: welcomed[:2]}, {kind: frameWelcome, body: append(welcomed, 1, 2, 3)},
		} {
			_, err := Dial(testContext(t), otherEngine(t, f.kind, f.body), "outlook")
			if !errors.Is(err, ErrVersion) {
				t.Errorf("frame %d of %d bytes: %v", f.kind, len(f.body), err)
			}
			bothNumbers(t, err, Version, v)
		}
	}
}

// TestSegmentsOfAnotherVersion: whoever maps them looks at what they say.
func TestSegmentsOfAnotherVersion(t *testing.T) {
	d, err := newDirectory(1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.close() }()
	lane := make([]byte, laneSize(2))
	formatLane(lane, 2)
	if err := errors.Join(checkDirectory(d.seg.Bytes()), checkLane(lane)); err != nil {
		t.Fatal(err)
	}
	le.PutUint32(d.seg.Bytes()[dirVersion:], Version+1)
	le.PutUint32(lane[8:], Version+1)
	for _, err := range []error{checkDirectory(d.seg.Bytes()), checkLane(lane)} {
		if !errors.Is(err, ErrVersion) {
			t.Errorf("%v", err)
		}
		bothNumbers(t, err, Version, Version+1)
	}
	d.seg.Bytes()[0], lane[0] = 'X', 'X'
	for _, err := range []error{checkDirectory(d.seg.Bytes()), checkLane(lane), checkDirectory(nil)} {
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("not one at all: %v", err)
		}
	}
}
