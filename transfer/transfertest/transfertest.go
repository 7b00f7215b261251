// Package transfertest is the one suite that every backend passes, each against
// a real server, through a relay that stalls and cuts connections.
package transfertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"io"
	mrand "math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"berth/transfer"
)

// Dial opens a connection, as [net.Dialer.DialContext] does.
type Dial = func(ctx context.Context, network, addr string) (net.Conn, error)

// Fixture is one backend beside a real server, ready for one test. The suite
// reaches behind the backend's back through its functions; one that is nil says
// that the protocol leaves no way to do such a thing.
type Fixture struct {
	Backend transfer.Backend
	// Stranger is the same destination with credentials that the server refuses.
	Stranger transfer.Backend
	// Fetch reads a committed object as its recipient would.
	Fetch func(t *testing.T, o transfer.Object, h transfer.Handle) []byte
	// Files lists what the server holds, in any form that can be compared.
	Files func(t *testing.T) []string
	// Plant replaces the bytes of an unfinished object.
	Plant func(t *testing.T, o transfer.Object, h transfer.Handle, content []byte)
	// Forget makes the server lose an unfinished object.
	Forget func(t *testing.T, o transfer.Object, h transfer.Handle)
	// Occupy puts somebody else's file where o would go.
	Occupy func(t *testing.T, o transfer.Object, content []byte)
	// Rewinds says that Open goes back to its limit.
	Rewinds bool
	// Narrow says that the server's file system has no names with any of "*:<>?|.
	Narrow bool
	// Stale says that bytes behind the offset stay until they are overwritten.
	Stale bool
	// Blind says that Commit doesn't look again after a complete upload.
	Blind bool
	// Shared says that committed objects lie among other people's files: Abort
	// leaves them.
	Shared bool
	// Orphans says that a Begin whose answer was lost leaves something that
	// nobody can find again.
	Orphans bool
	// Unflushed says that closing early may lose the tail, which Close reports.
	Unflushed bool
}

// Open makes a fixture whose backend connects by over(dial), or by over(nil) when
// it would use the network as it is. What it starts ends with t.
type Open func(t *testing.T, over func(Dial) Dial) Fixture

// Run puts a backend through everything that [transfer.Backend] promises.
func Run(t *testing.T, open Open) {
	cases := []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"whole", whole}, {"small writes", smallWrites}, {"too much", tooMuch},
		{"close early", closeEarly}, {"cut", cut}, {"cut again and again", cutAgain},
		{"limit", limit}, {"begin twice", beginTwice}, {"foreign prefix", foreignPrefix},
		{"abort", abort}, {"abort the unknown", abortUnknown}, {"abort after commit", abortCommitted},
		{"commit twice", commitTwice}, {"commit too early", commitEarly}, {"open after commit", openCommitted},
		{"names", names}, {"bad names", badNames}, {"taken name", takenName},
		{"stalled write", stalledWrite}, {"stalled calls", stalledCalls},
		{"gone", gone}, {"unauthorized", unauthorized}, {"proof", proof}, {"link", link},
		{"parallel", parallel}, {"probe", probe},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{relay: NewRelay(t)}
			b.Fixture = open(t, b.relay.Over)
			c.run(t, b)
		})
	}
}

// bench is a fixture with its relay.
type bench struct {
	Fixture
	relay *Relay
}

// watchdog bounds a test that hangs; no test depends on how fast it is.
const watchdog = 2 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), watchdog)
	t.Cleanup(cancel)
	return ctx
}

// NewObject makes an object with a fresh ID and random content.
func NewObject(name string, size int) (transfer.Object, []byte) {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	var seed [32]byte
	copy(seed[:], id)
	content := make([]byte, size)
	_, _ = mrand.NewChaCha8(seed).Read(content)
	return transfer.Object{
		ID:   strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(id)),
		Name: name, Size: int64(size), Type: "application/octet-stream",
		ModTime: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC),
	}, content
}

func (b *bench) begin(t *testing.T, o transfer.Object) transfer.Handle {
	t.Helper()
	h, err := b.Backend.Begin(testContext(t), o)
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	if h == "" {
		t.Fatal("Begin answered no handle")
	}
	return h
}

// open opens o and checks what every Open has to keep.
func (b *bench) open(t *testing.T, ctx context.Context, o transfer.Object, h transfer.Handle, limit int64) transfer.Upload {
	t.Helper()
	u, err := b.Backend.Open(ctx, o, h, limit)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if n := u.Offset(); n < 0 || n > o.Size || b.Rewinds && n > limit {
		t.Fatalf("Open with limit %d answered offset %d of %d", limit, n, o.Size)
	}
	return u
}

// reopen uses up what a backend may remember of its last conversation, so that
// the next Open has to ask the server.
func (b *bench) reopen(t *testing.T, o transfer.Object, h transfer.Handle) {
	t.Helper()
	if err := b.open(t, testContext(t), o, h, o.Size).Close(); err != nil {
		t.Fatalf("Close without a Write: %v", err)
	}
}

// finish sends what is missing, however often the network breaks, and commits.
func (b *bench) finish(t *testing.T, o transfer.Object, h transfer.Handle, content []byte) {
	t.Helper()
	for try := 0; ; try++ {
		err := b.sendRest(t, o, h, content)
		if err == nil {
			break
		}
		if try == 50 {
			t.Fatalf("the upload does not get on: %v", err)
		}
	}
	if err := b.Backend.Commit(testContext(t), o, h); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	b.check(t, o, h, content)
}

func (b *bench) sendRest(t *testing.T, o transfer.Object, h transfer.Handle, content []byte) error {
	t.Helper()
	u, err := b.Backend.Open(testContext(t), o, h, o.Size)
	if err != nil {
		return err
	}
	return send(u, content[u.Offset():])
}

// send writes in the sizes that the queue uses, and closes.
func send(u transfer.Upload, p []byte) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{u}, struct{ io.Reader }{bytes.NewReader(p)}, make([]byte, 256<<10))
	return errors.Join(err, u.Close())
}

func (b *bench) check(t *testing.T, o transfer.Object, h transfer.Handle, content []byte) {
	t.Helper()
	if got := b.Fetch(t, o, h); !bytes.Equal(got, content) {
		t.Fatalf("%q: the server has %d bytes that differ from the %d sent (from %d on)", o.Name, len(got), len(content), differ(got, content))
	}
}

func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// upload does the whole way for one object.
func (b *bench) upload(t *testing.T, o transfer.Object, content []byte) transfer.Handle {
	t.Helper()
	h := b.begin(t, o)
	u := b.open(t, testContext(t), o, h, o.Size)
	if u.Offset() != 0 {
		t.Fatalf("a new object starts at %d", u.Offset())
	}
	if err := send(u, content); err != nil {
		t.Fatalf("upload: %v", err)
	}
	if err := b.Backend.Commit(testContext(t), o, h); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return h
}
