package transfertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"berth/transfer"
)

func whole(t *testing.T, b *bench) {
	for _, size := range []int{0, 1, 32<<10 - 1, 64 << 10, 1<<20 + 1, transfer.ChunkSize + 7, 9 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			o, content := NewObject(fmt.Sprintf("%d.bin", size), size)
			h := b.upload(t, o, content)
			b.check(t, o, h, content)
		})
	}
}

func smallWrites(t *testing.T, b *bench) {
	o, content := NewObject("small.bin", 70_001)
	h := b.begin(t, o)
	u := b.open(t, testContext(t), o, h, o.Size)
	for rest := content; len(rest) > 0; {
		n := min(len(rest), 1+rand.IntN(997))
		if m, err := u.Write(rest[:n]); err != nil || m != n {
			t.Fatalf("Write: %d of %d, %v", m, n, err)
		}
		if _, err := u.Write(nil); err != nil {
			t.Fatalf("an empty Write: %v", err)
		}
		rest = rest[n:]
	}
	if err := u.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	b.finish(t, o, h, content)
}

// tooMuch: a source that grew must not make a longer object.
func tooMuch(t *testing.T, b *bench) {
	o, content := NewObject("long.bin", 100_000)
	h := b.begin(t, o)
	u := b.open(t, testContext(t), o, h, o.Size)
	if _, err := u.Write(content); err != nil {
		t.Fatal(err)
	}
	_, err := u.Write([]byte{1})
	if err = errors.Join(err, u.Close()); err == nil {
		t.Fatal("one byte more than announced was taken")
	}
	b.finish(t, o, h, content)
}

// closeEarly: a pause keeps what was written, to the byte.
func closeEarly(t *testing.T, b *bench) {
	o, content := NewObject("early.bin", 3<<20)
	h := b.begin(t, o)
	const part = 1<<20 + 13
	err := send(b.open(t, testContext(t), o, h, o.Size), content[:part])
	if err != nil && !b.Unflushed {
		t.Fatalf("Close before the end: %v", err)
	}
	u := b.open(t, testContext(t), o, h, o.Size)
	if n := u.Offset(); n > part || err == nil && n != part {
		t.Fatalf("wrote %d bytes (Close: %v), the server holds %d", part, err, n)
	}
	if err := u.Close(); err != nil {
		t.Fatalf("Close without a Write: %v", err)
	}
	b.finish(t, o, h, content)
}

// cut: after the network broke, the upload goes on where the server stands.
func cut(t *testing.T, b *bench) {
	o, content := NewObject("cut.bin", 12<<20)
	h := b.begin(t, o)
	u := b.open(t, testContext(t), o, h, o.Size)
	b.relay.CutAfter(6 << 20)
	if err := send(u, content); err == nil {
		t.Fatal("half of it arrived and Close was content")
	}
	before := b.relay.Up()
	u = b.open(t, testContext(t), o, h, o.Size)
	if n := u.Offset(); n == 0 || n > 6<<20 {
		t.Fatalf("6 MiB went out, the upload continues at %d", n)
	}
	rest := o.Size - u.Offset()
	if err := send(u, content[u.Offset():]); err != nil {
		t.Fatalf("the rest: %v", err)
	}
	if sent := b.relay.Up() - before; sent > rest+rest/8+64<<10 {
		t.Errorf("%d bytes were missing, %d were sent", rest, sent)
	}
	b.finish(t, o, h, content)
}

func cutAgain(t *testing.T, b *bench) {
	o, content := NewObject("again.bin", 8<<20)
	h := b.begin(t, o)
	for range 12 {
		b.relay.CutAfter(rand.Int64N(2 << 20))
		_ = b.sendRest(t, o, h, content) // the break is the point
	}
	b.relay.CutAfter(-1)
	b.finish(t, o, h, content)
}

// limit: nothing is continued that the caller won't vouch for.
func limit(t *testing.T, b *bench) {
	o, content := NewObject("limit.bin", 2<<20)
	h := b.begin(t, o)
	const wrong = 1 << 20
	bad := append([]byte(nil), content[:wrong]...)
	clear(bad[300_000:])
	if err := send(b.open(t, testContext(t), o, h, o.Size), bad); err != nil && !b.Unflushed {
		t.Fatalf("the first part: %v", err)
	}
	if !b.Rewinds {
		t.Log("the protocol can't rewind: the caller checks the prefix")
		return
	}
	if err := send(b.open(t, testContext(t), o, h, 299_000), content[299_000:299_010]); err != nil {
		t.Fatalf("ten bytes at the limit: %v", err)
	}
	if u := b.open(t, testContext(t), o, h, o.Size); u.Offset() != 299_010 && !b.Stale && u.Offset() != 0 {
		t.Fatalf("bytes behind the limit are still there: the upload continues at %d", u.Offset())
	}
	for _, n := range []int64{300_000, 299_999, 0} {
		u := b.open(t, testContext(t), o, h, n)
		if n == 0 && u.Offset() != 0 {
			t.Fatalf("limit 0 continues at %d", u.Offset())
		}
		if err := send(u, content[u.Offset():]); err != nil {
			t.Fatalf("from %d on: %v", u.Offset(), err)
		}
	}
	b.finish(t, o, h, content)
}

func beginTwice(t *testing.T, b *bench) {
	o, content := NewObject("twice.bin", 600_000)
	lost := b.begin(t, o)
	if err := send(b.open(t, testContext(t), o, lost, o.Size), content[:200_000]); err != nil && !b.Unflushed {
		t.Fatal(err)
	}
	h := b.begin(t, o)
	b.finish(t, o, h, content)
}

// foreignPrefix: neither a shorter nor a longer file that somebody left at the
// temporary name ends up in the object.
func foreignPrefix(t *testing.T, b *bench) {
	if b.Plant == nil {
		t.Log("nobody else can write there")
		return
	}
	for _, c := range []struct{ whole, size int }{{1 << 20, 100_000}, {1 << 20, 1 << 20}, {1 << 20, 3 << 20}, {0, 5000}} {
		size := c.size
		o, content := NewObject(fmt.Sprintf("foreign %d.bin", size), c.whole)
		h := b.begin(t, o)
		b.reopen(t, o, h)
		b.Plant(t, o, h, make([]byte, size))
		limit := int64(0)
		if size > c.whole {
			limit = o.Size // whoever says so: such a file can't be the object's
		}
		u, err := b.Backend.Open(testContext(t), o, h, limit)
		if err != nil && !errors.Is(err, transfer.ErrGone) {
			t.Fatalf("Open over %d foreign bytes: %v", size, err)
		}
		if err != nil || u.Offset() != 0 {
			if b.Rewinds {
				t.Fatalf("Open over %d foreign bytes did not rewind (%v)", size, err)
			}
			b.abortNow(t, o, h) // what the queue does when the prefix isn't its own
			h = b.begin(t, o)
			u = b.open(t, testContext(t), o, h, 0)
		}
		if err := send(u, content[u.Offset():]); err != nil {
			t.Fatalf("over %d foreign bytes: %v", size, err)
		}
		if err := b.Backend.Commit(testContext(t), o, h); err != nil {
			t.Fatalf("Commit over %d foreign bytes: %v", size, err)
		}
		b.check(t, o, h, content)
	}
}

func parallel(t *testing.T, b *bench) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			o, content := NewObject(fmt.Sprintf("parallel %d.bin", i), 300_000*i+i)
			h, err := b.Backend.Begin(testContext(t), o)
			if err != nil {
				t.Errorf("%d: Begin: %v", i, err)
				return
			}
			if err := errors.Join(b.sendRest(t, o, h, content), b.Backend.Commit(testContext(t), o, h)); err != nil {
				t.Errorf("%d: %v", i, err)
				return
			}
			if got := b.Fetch(t, o, h); string(got) != string(content) {
				t.Errorf("%d: %d bytes that differ", i, len(got))
			}
		})
	}
	wg.Wait()
}
