package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func newHostKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestHostKeysPinOnlyWhatIsAccepted(t *testing.T) {
	good, bad := newHostKey(t), newHostKey(t)
	h := hostKeysBeside(filepath.Join(t.TempDir(), "c", "config.toml"))
	if err := h.Pin("host:2222", good); err == nil || !strings.Contains(err.Error(), ssh.FingerprintSHA256(good)) {
		t.Fatalf("nobody was asked, and yet %v", err)
	}
	h.decide = acceptOnly(ssh.FingerprintSHA256(good))
	if err := h.Pin("host:2222", bad); err == nil {
		t.Fatal("another key than the accepted one was pinned")
	}
	if keys, err := h.Lookup("host:2222"); len(keys) != 0 || err != nil {
		t.Fatalf("pinned: %v, %v", keys, err)
	}
	if err := h.Pin("host:2222", good); err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]int{"host:2222": 1, "host:22": 0, "other:2222": 0} {
		keys, err := h.Lookup(addr)
		if err != nil || len(keys) != want {
			t.Errorf("%s: %d keys, %v; want %d", addr, len(keys), err, want)
		}
	}
}
