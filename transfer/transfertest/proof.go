package transfertest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"berth/transfer"
)

func gone(t *testing.T, b *bench) {
	o, content := NewObject("gone.bin", 100_000)
	h := b.begin(t, o)
	if err := send(b.open(t, testContext(t), o, h, o.Size), content[:50_000]); err != nil && !b.Unflushed {
		t.Fatal(err)
	}
	b.Forget(t, o, h)
	if _, err := b.Backend.Open(testContext(t), o, h, o.Size); !errors.Is(err, transfer.ErrGone) {
		t.Fatalf("Open of a forgotten upload: %v, want ErrGone", err)
	}
	if err := b.Backend.Commit(testContext(t), o, h); !errors.Is(err, transfer.ErrGone) {
		t.Fatalf("Commit of a forgotten upload: %v, want ErrGone", err)
	}
	h = b.begin(t, o)
	b.finish(t, o, h, content)

	o, content = NewObject("gone at last.bin", 1000) // complete, and then lost
	h = b.begin(t, o)
	if err := b.sendRest(t, o, h, content); err != nil {
		t.Fatal(err)
	}
	b.Forget(t, o, h)
	if err := b.Backend.Commit(testContext(t), o, h); !errors.Is(err, transfer.ErrGone) && !b.Blind {
		t.Fatalf("Commit of a lost object: %v, want ErrGone", err)
	}
}

func unauthorized(t *testing.T, b *bench) {
	if b.Stranger == nil {
		t.Log("nobody is a stranger here")
		return
	}
	o, _ := NewObject("stranger.bin", 100)
	_, err := b.Stranger.Begin(testContext(t), o)
	if !errors.Is(err, transfer.ErrUnauthorized) {
		t.Fatalf("Begin with wrong credentials: %v, want ErrUnauthorized", err)
	}
	if strings.Contains(err.Error(), WrongPassword) {
		t.Fatalf("the error gives the password away: %v", err)
	}
	if p, ok := b.Stranger.(transfer.Prober); ok {
		if err := p.Probe(testContext(t)); !errors.Is(err, transfer.ErrUnauthorized) {
			t.Fatalf("Probe with wrong credentials: %v, want ErrUnauthorized", err)
		}
	}
}

// WrongPassword is what strangers try; no error may contain it.
const WrongPassword = "not-the-password-4711"

// proof: what a backend can show of the server's copy, before and after Commit,
// and between Open and the first Write, where the queue checks the prefix.
func proof(t *testing.T, b *bench) {
	o, content := NewObject("proof.bin", 1<<20+77)
	h := b.begin(t, o)
	err := send(b.open(t, testContext(t), o, h, o.Size), content[:600_000])
	if err != nil && !b.Unflushed {
		t.Fatal(err)
	}
	u := b.open(t, testContext(t), o, h, o.Size)
	n := u.Offset()
	proved := b.prove(t, o, h, content[:n])
	if err := send(u, content[n:]); err != nil {
		t.Fatalf("the rest, after the prefix was checked: %v", err)
	}
	proved = b.prove(t, o, h, content) && proved
	if err := b.Backend.Commit(testContext(t), o, h); err != nil {
		t.Fatal(err)
	}
	if proved = b.prove(t, o, h, content) && proved; !proved {
		t.Fatal("the backend can neither hash nor read back: nothing can be proved")
	}
}

// prove compares the server's copy by hash and by reading; it is false when the
// backend can do neither.
func (b *bench) prove(t *testing.T, o transfer.Object, h transfer.Handle, content []byte) bool {
	t.Helper()
	hashed, read := false, false
	if p, ok := b.Backend.(transfer.Hasher); ok {
		sum, err := p.SHA256(testContext(t), o, h, int64(len(content)))
		if !errors.Is(err, errors.ErrUnsupported) {
			if err != nil || sum != sha256.Sum256(content) {
				t.Fatalf("SHA256 of %d bytes: %x, %v", len(content), sum, err)
			}
			hashed = true
		}
	}
	if p, ok := b.Backend.(transfer.Reader); ok {
		read = true
		for _, r := range [][2]int{{0, len(content)}, {len(content) / 3, len(content) / 2}, {len(content) - min(len(content), 99), min(len(content), 99)}, {0, 0}} {
			b.readBack(t, p, o, h, int64(r[0]), content[r[0]:r[0]+r[1]])
		}
	}
	return hashed || read
}

func (b *bench) readBack(t *testing.T, p transfer.Reader, o transfer.Object, h transfer.Handle, offset int64, want []byte) {
	t.Helper()
	r, err := p.ReadAt(testContext(t), o, h, offset, int64(len(want)))
	if err != nil {
		t.Fatalf("ReadAt(%d, %d): %v", offset, len(want), err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("ReadAt(%d, %d): %d bytes, equal: %v, %v", offset, len(want), len(got), bytes.Equal(got, want), err)
	}
	if err := r.Close(); err != nil {
		t.Fatalf("ReadAt(%d, %d): Close: %v", offset, len(want), err)
	}
}

// link: it doesn't change once known, and it leads to the object.
func link(t *testing.T, b *bench) {
	l, ok := b.Backend.(transfer.Linker)
	if !ok {
		t.Log("no links here")
		return
	}
	o, content := NewObject("Prüf bericht #1.txt", 4321)
	early, known := l.Link(o, "")
	h := b.upload(t, o, content)
	late, ok := l.Link(o, h)
	if !ok {
		t.Log("no link without a template")
		return
	}
	if known && early != late {
		t.Fatalf("the link was %s and became %s", early, late)
	}
	if !strings.HasPrefix(late, "http://127.0.0.1") {
		return // a template's host is not ours to ask
	}
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, late, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(got, content) {
		t.Fatalf("GET %s: %s, %d bytes, %v", late, resp.Status, len(got), err)
	}
}

func probe(t *testing.T, b *bench) {
	p, ok := b.Backend.(transfer.Prober)
	if !ok {
		t.Log("can't be probed")
		return
	}
	before := b.files(t)
	if err := p.Probe(testContext(t)); err != nil {
		t.Fatalf("Probe: %v", err)
	}
	b.same(t, before, "Probe")
}
