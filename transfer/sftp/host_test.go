package sftp_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"berth/transfer"
	"berth/transfer/sftp"
	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
)

// errAsk stands for what the program that embeds us answers to an unknown host.
type errAsk struct{ addr string }

func (e *errAsk) Error() string { return "ask a person about " + e.addr }

func TestHostKeys(t *testing.T) {
	s := servers.Start(t, servers.SSHD)
	probe := func(known sftp.KnownHosts) error {
		return open(t, sftp.Config{Addr: s.Addr, User: s.User, Password: secret(s.Password), KnownHosts: known}).Probe(t.Context())
	}
	var key *sftp.HostKeyError
	t.Run("unknown", func(t *testing.T) {
		err := probe(nil)
		if !errors.Is(err, transfer.ErrUnauthorized) || !errors.As(err, &key) || key.Got != s.HostKey || len(key.Want) != 0 {
			t.Fatalf("%v, want the fingerprint %s", err, s.HostKey)
		}
	})
	t.Run("refused", func(t *testing.T) {
		err := probe(&hosts{refuse: &errAsk{s.Addr}})
		var ask *errAsk
		if !errors.Is(err, transfer.ErrUnauthorized) || !errors.As(err, &key) || !errors.As(err, &ask) || ask.addr != s.Addr {
			t.Fatalf("%v", err)
		}
	})
	t.Run("pinned", func(t *testing.T) {
		known := &hosts{}
		if err := probe(known); err != nil {
			t.Fatal(err)
		}
		known.refuse = errors.New("asked again")
		if err := probe(known); err != nil {
			t.Fatalf("the same key: %v", err)
		}
		if ssh.FingerprintSHA256(known.pinned[s.Addr]) != s.HostKey {
			t.Error("another key was pinned")
		}
	})
	t.Run("changed", func(t *testing.T) {
		other := newSigner(t).PublicKey()
		err := probe(&hosts{pinned: map[string]ssh.PublicKey{s.Addr: other}})
		if !errors.Is(err, transfer.ErrUnauthorized) || !errors.As(err, &key) || key.Got != s.HostKey ||
			len(key.Want) != 1 || key.Want[0] != ssh.FingerprintSHA256(other) || !strings.Contains(err.Error(), "HAS CHANGED") {
			t.Fatalf("%v", err)
		}
	})
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeys(t *testing.T) {
	s := servers.Start(t, servers.SSHD)
	probe := func(cfg sftp.Config) error {
		cfg.Addr, cfg.User, cfg.KnownHosts = s.Addr, s.User, &hosts{}
		return open(t, cfg).Probe(t.Context())
	}
	text, err := os.ReadFile(s.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(*private.(*ed25519.PrivateKey), "", []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(t.TempDir(), "locked")
	if err := os.WriteFile(locked, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	serveAgent(t, keyring)
	missing := errors.New("nothing is stored")
	for name, c := range map[string]struct {
		cfg  sftp.Config
		want error
	}{
		"file":                  {sftp.Config{KeyFile: s.KeyFile}, nil},
		"passphrase":            {sftp.Config{KeyFile: locked, Passphrase: secret("open sesame")}, nil},
		"wrong passphrase":      {sftp.Config{KeyFile: locked, Passphrase: secret("x")}, transfer.ErrUnauthorized},
		"no passphrase":         {sftp.Config{KeyFile: locked}, transfer.ErrUnauthorized},
		"no file":               {sftp.Config{KeyFile: locked + "?"}, os.ErrNotExist},
		"file, else password":   {sftp.Config{KeyFile: locked + "?", Password: secret(s.Password)}, nil},
		"agent":                 {sftp.Config{Agent: true}, nil},
		"nothing":               {sftp.Config{}, transfer.ErrUnauthorized},
		"wrong password":        {sftp.Config{Password: secret(transfertest.WrongPassword)}, transfer.ErrUnauthorized},
		"no password is stored": {sftp.Config{Password: func(context.Context) (string, error) { return "", missing }}, missing},
	} {
		t.Run(name, func(t *testing.T) {
			err := probe(c.cfg)
			if c.want == nil && err != nil || !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if c.want != nil && !errors.Is(err, transfer.ErrUnauthorized) {
				t.Errorf("%v is not ErrUnauthorized", err)
			}
		})
	}
}

// serveAgent makes keyring the agent of this process.
func serveAgent(t *testing.T, keyring agent.Agent) {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // socket names are short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); os.RemoveAll(dir) })
	t.Setenv("SSH_AUTH_SOCK", socket)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = agent.ServeAgent(keyring, c)
				c.Close()
			}()
		}
	}()
}

func TestNoDirectory(t *testing.T) {
	s := servers.Start(t, servers.SSHD)
	b := open(t, sftp.Config{Addr: s.Addr, User: s.User, Password: secret(s.Password), KnownHosts: &hosts{}, Dir: "missing"})
	o, _ := transfertest.NewObject("a.txt", 1)
	if _, err := b.Begin(t.Context(), o); !errors.Is(err, transfer.ErrPermanent) || !strings.Contains(err.Error(), "/missing") {
		t.Errorf("Begin: %v", err)
	}
	if err := b.Probe(t.Context()); !errors.Is(err, transfer.ErrPermanent) || !strings.Contains(err.Error(), "/missing") {
		t.Errorf("Probe: %v", err)
	}
}

func TestForbidden(t *testing.T) {
	s := servers.Start(t, servers.SSHD)
	b := open(t, sftp.Config{Addr: s.Addr, User: s.User, Password: secret(s.Password), KnownHosts: &hosts{}, Dir: "/etc"})
	o, _ := transfertest.NewObject("a.txt", 1)
	if _, err := b.Begin(t.Context(), o); !errors.Is(err, transfer.ErrPermanent) {
		t.Errorf("Begin below /etc: %v", err)
	}
}
