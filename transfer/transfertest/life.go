package transfertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/transfer"
)

func (b *bench) abortNow(t *testing.T, o transfer.Object, h transfer.Handle) {
	t.Helper()
	if err := b.Backend.Abort(testContext(t), o, h); err != nil {
		t.Fatalf("Abort: %v", err)
	}
}

// same fails when the server doesn't hold what it held before.
func (b *bench) same(t *testing.T, before []string, what string) {
	t.Helper()
	if b.Files == nil {
		return
	}
	if after := b.Files(t); !slices.Equal(before, after) {
		t.Fatalf("%s left something behind:\nbefore %q\nafter  %q", what, before, after)
	}
}

func (b *bench) files(t *testing.T) []string {
	if b.Files == nil {
		return nil
	}
	return b.Files(t)
}

func abort(t *testing.T, b *bench) {
	before := b.files(t)
	for _, part := range []int{0, 700_000, 1 << 20} {
		o, content := NewObject("abort.bin", 1<<20)
		h := b.begin(t, o)
		if err := send(b.open(t, testContext(t), o, h, o.Size), content[:part]); err != nil && !b.Unflushed {
			t.Fatal(err)
		}
		b.abortNow(t, o, h)
		b.same(t, before, "Abort")
		b.abortNow(t, o, h)
		if _, err := b.Backend.Open(testContext(t), o, h, o.Size); !errors.Is(err, transfer.ErrGone) {
			t.Fatalf("Open after Abort: %v, want ErrGone", err)
		}
	}
}

// abortUnknown: a crash may have lost what Begin answered.
func abortUnknown(t *testing.T, b *bench) {
	before := b.files(t)
	o, _ := NewObject("unknown.bin", 1000)
	b.abortNow(t, o, "")
	b.same(t, before, "Abort of nothing")
	if b.Orphans {
		return
	}
	b.begin(t, o)
	b.abortNow(t, o, "")
	b.same(t, before, "Abort without a handle")
}

// abortCommitted: cancelling a job takes its finished items back too.
func abortCommitted(t *testing.T, b *bench) {
	before := b.files(t)
	o, content := NewObject("committed.bin", 50_000)
	h := b.upload(t, o, content)
	b.abortNow(t, o, h)
	if b.Shared {
		b.check(t, o, h, content)
		return
	}
	b.same(t, before, "Abort after Commit")
	b.abortNow(t, o, h)
}

func commitTwice(t *testing.T, b *bench) {
	o, content := NewObject("commit.bin", 200_000)
	h := b.upload(t, o, content)
	for range 2 {
		if err := b.Backend.Commit(testContext(t), o, h); err != nil {
			t.Fatalf("Commit after Commit: %v", err)
		}
	}
	b.check(t, o, h, content)
}

func commitEarly(t *testing.T, b *bench) {
	o, content := NewObject("soon.bin", 200_000)
	h := b.begin(t, o)
	if err := send(b.open(t, testContext(t), o, h, o.Size), content[:100_000]); err != nil && !b.Unflushed {
		t.Fatal(err)
	}
	if err := b.Backend.Commit(testContext(t), o, h); err == nil {
		t.Fatal("half an object was committed")
	}
	b.finish(t, o, h, content)
}

// openCommitted: a crash between Commit and the queue's own record.
func openCommitted(t *testing.T, b *bench) {
	o, content := NewObject("reopen.bin", 200_000)
	h := b.upload(t, o, content)
	u := b.open(t, testContext(t), o, h, o.Size)
	if u.Offset() != o.Size {
		t.Fatalf("a finished object continues at %d of %d", u.Offset(), o.Size)
	}
	if err := u.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	b.finish(t, o, h, content)
}

func names(t *testing.T, b *bench) {
	for _, name := range []string{
		"Geschäftsbericht 2024 – Entwurf.pdf", "with  two spaces.txt", "percent %41 100%.txt", "quote\"'`.txt",
		"emoji 🚢⚓.bin", "日本語のファイル.docx", "-dash.txt", " leading", ".hidden", "semi;colon&amp=1?#.txt",
		"a+b [1] {2} ~ $HOME *.txt", strings.Repeat("long ", 49) + ".txt", strings.Repeat("ü", 120) + ".txt", "nfd u\u0308.txt",
	} {
		if b.Narrow && strings.ContainsAny(name, `"*:<>?|`) {
			continue
		}
		t.Run(name[:min(len(name), 40)], func(t *testing.T) {
			o, content := NewObject(name, 1234)
			h := b.upload(t, o, content)
			b.check(t, o, h, content)
			b.abortNow(t, o, h)
		})
	}
}

// badNames: the queue never makes such names, but a backend is the last that
// could stop one.
func badNames(t *testing.T, b *bench) {
	if b.Occupy == nil {
		t.Log("names are data to this protocol")
		return
	}
	for _, name := range []string{"", ".", "..", "../up", "a/b", "a\r\nDELE b", "nul\x00"} {
		o, _ := NewObject(name, 10)
		if _, err := b.Backend.Begin(testContext(t), o); !errors.Is(err, transfer.ErrPermanent) {
			t.Errorf("Begin of %q: %v, want ErrPermanent", name, err)
		}
	}
}

func takenName(t *testing.T, b *bench) {
	if b.Occupy == nil {
		t.Log("names can't collide here")
		return
	}
	o, content := NewObject("taken.txt", 5000)
	theirs := []byte("somebody else's")
	h := b.begin(t, o)
	if err := send(b.open(t, testContext(t), o, h, o.Size), content); err != nil {
		t.Fatal(err)
	}
	b.Occupy(t, o, theirs)
	b.reopen(t, o, h)
	if err := b.Backend.Commit(testContext(t), o, h); !errors.Is(err, transfer.ErrExists) {
		t.Fatalf("Commit over a file: %v, want ErrExists", err)
	}
	b.check(t, o, h, theirs)
}

// stalledWrite: cancelling frees a Write that waits for a silent server.
func stalledWrite(t *testing.T, b *bench) {
	o, _ := NewObject("stall.bin", 0)
	o.Size = 1 << 30 // more than all buffers on the way
	h := b.begin(t, o)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	u := b.open(t, ctx, o, h, o.Size)
	if _, err := u.Write(make([]byte, 1<<20)); err != nil { // from here on bytes flow
		t.Fatal(err)
	}
	b.relay.Stall()
	progress, ended := make(chan struct{}, 4096), make(chan error, 1)
	go func() {
		buf := make([]byte, 256<<10)
		for {
			if _, err := u.Write(buf); err != nil {
				ended <- errors.Join(err, u.Close())
				return
			}
			progress <- struct{}{}
		}
	}()
	waitBlocked(progress)
	cancel()
	b.ends(t, "Write", ended)
	b.relay.Resume()
	b.abortNow(t, o, h)
}

// waitBlocked returns once nothing has moved for a second. Should the writer be
// merely slow, the test checks a little less; it never fails for it.
func waitBlocked(progress <-chan struct{}) {
	for {
		select {
		case <-progress:
		case <-time.After(time.Second):
			return
		}
	}
}

func (b *bench) ends(t *testing.T, what string, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%s ended with %v, want it to be canceled", what, err)
		}
	case <-time.After(watchdog):
		t.Fatalf("%s hangs although its context ended", what)
	}
}

// stalledCalls: so do all other calls.
func stalledCalls(t *testing.T, b *bench) {
	o, content := NewObject("calls.bin", 100_000)
	h := b.begin(t, o)
	if err := send(b.open(t, testContext(t), o, h, o.Size), content); err != nil {
		t.Fatal(err)
	}
	b.reopen(t, o, h)
	calls := map[string]func(context.Context) error{
		"Begin": func(ctx context.Context) error {
			o, _ := NewObject("n", 1)
			_, err := b.Backend.Begin(ctx, o)
			return err
		},
		"Open": func(ctx context.Context) error { _, err := b.Backend.Open(ctx, o, h, o.Size); return err },
	}
	for name, call := range calls {
		b.relay.Stall()
		ctx, cancel := context.WithCancel(testContext(t))
		ended := make(chan error, 1)
		go func() { ended <- call(ctx) }()
		waitBlocked(nil)
		cancel()
		b.ends(t, name, ended)
		b.relay.Cut() // what stood in the way must not reach the server later
		b.relay.Resume()
	}
	b.finish(t, o, h, content)
}
