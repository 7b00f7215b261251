package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"berth/transfer"
)

// auth is one try to be let in.
type auth struct {
	ctx    context.Context
	cfg    Config
	hosts  *hostKeys
	agent  io.Closer // connection to the agent; nil without one
	failed error     // a secret that could not be had
}

func newAuth(ctx context.Context, cfg Config) *auth {
	return &auth{ctx: ctx, cfg: cfg, hosts: &hostKeys{addr: cfg.Addr, known: cfg.KnownHosts}}
}

func (a *auth) close() {
	if a.agent != nil {
		_ = a.agent.Close() // nothing was changed there
	}
}

func (a *auth) config() (*ssh.ClientConfig, error) {
	c := &ssh.ClientConfig{User: a.cfg.User, ClientVersion: "SSH-2.0-Berth"}
	if a.cfg.Agent || a.cfg.KeyFile != "" {
		c.Auth = append(c.Auth, ssh.PublicKeysCallback(a.keys))
	}
	if a.cfg.Password != nil {
		// Some servers ask for the password in one way, some in the other.
		c.Auth = append(c.Auth, ssh.PasswordCallback(a.password), ssh.KeyboardInteractive(a.answer))
	}
	var err error
	c.HostKeyCallback = a.hosts.check
	c.HostKeyAlgorithms, err = a.hosts.algorithms()
	return c, err
}

// keys are the agent's, then the file's. A key that can't be had is no obstacle
// as long as another one opens.
func (a *auth) keys() ([]ssh.Signer, error) {
	var all []ssh.Signer
	if a.cfg.Agent && a.agent == nil {
		if c, err := dialAgent(a.ctx); err == nil {
			a.agent = c
			if s, err := agent.NewClient(c).Signers(); err == nil {
				all = append(all, s...)
			}
		}
	}
	if a.cfg.KeyFile != "" {
		s, err := a.fileKey()
		if err != nil {
			a.failed = err
		} else {
			all = append(all, s)
		}
	}
	return all, nil
}

func (a *auth) fileKey() (ssh.Signer, error) {
	text, err := os.ReadFile(a.cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("the private key can't be read: %w", err)
	}
	s, err := ssh.ParsePrivateKey(text)
	locked := (*ssh.PassphraseMissingError)(nil)
	if !errors.As(err, &locked) {
		return s, wrapKey(a.cfg.KeyFile, err)
	}
	if a.cfg.Passphrase == nil {
		return nil, fmt.Errorf("the private key %s has a passphrase, and none is stored", a.cfg.KeyFile)
	}
	pass, err := a.cfg.Passphrase(a.ctx)
	if err != nil {
		return nil, err
	}
	s, err = ssh.ParsePrivateKeyWithPassphrase(text, []byte(pass))
	return s, wrapKey(a.cfg.KeyFile, err)
}

func wrapKey(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the private key %s can't be used: %w", name, err)
}

func (a *auth) password() (string, error) {
	p, err := a.cfg.Password(a.ctx)
	if err != nil {
		a.failed = err
	}
	return p, err
}

// answer gives the password to the one hidden question that servers ask.
func (a *auth) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	answers := make([]string, len(questions))
	for i := range questions {
		if echos[i] {
			return nil, errors.New("the server asks for something else than a password")
		}
		p, err := a.password()
		if err != nil {
			return nil, err
		}
		answers[i] = p
	}
	return answers, nil
}

// explain finds what a failed handshake was about.
func (a *auth) explain(err error) error {
	switch {
	case a.hosts.refused != nil:
		return a.hosts.refused
	case a.failed != nil:
		return fmt.Errorf("%w: logging in to %s: %w", transfer.ErrUnauthorized, a.cfg.Addr, a.failed)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("%w: sftp server %s does not let %q in: check the user and the key or password", transfer.ErrUnauthorized, a.cfg.Addr, a.cfg.User)
	}
	return err
}
