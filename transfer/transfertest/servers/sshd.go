package servers

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// SSHD starts OpenSSH with nothing but SFTP, for one system account that starts
// in Root and is let in by password or by KeyFile.
func SSHD(ctx context.Context, dir string) (*Server, error) {
	program, err := needs("sshd")
	if err != nil {
		return nil, err
	}
	root, err := home(dir, "sftp")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{Kind: "sshd", Addr: "127.0.0.1:" + port, User: account, Password: accountPassword, Root: root}
	s.URL = "sftp://" + account + "@" + s.Addr + root
	conf, err := s.keys(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return nil, err
	}
	lines := []string{"Port " + port, "ListenAddress 127.0.0.1", "HostKey " + filepath.Join(dir, "host_key"),
		"AuthorizedKeysFile " + filepath.Join(dir, "authorized_keys"), "UsePAM no", "StrictModes no", "PidFile none",
		"PasswordAuthentication yes", "KbdInteractiveAuthentication no", "MaxStartups 100",
		"Subsystem sftp internal-sftp", "ForceCommand internal-sftp -u 0022 -d " + root}
	if penalties(program) {
		lines = append(lines, "PerSourcePenalties no")
	}
	if err := writeLines(conf, lines...); err != nil {
		return nil, err
	}
	return s, daemon(ctx, s, program, "-D", "-e", "-f", conf)
}

// keys makes the host's and the user's key and answers where sshd's own
// configuration goes.
func (s *Server) keys(dir string) (conf string, err error) {
	host, err := newKey(filepath.Join(dir, "host_key"))
	if err != nil {
		return "", err
	}
	s.HostKey = ssh.FingerprintSHA256(host)
	s.KeyFile = filepath.Join(dir, "user_key")
	mine, err := newKey(s.KeyFile)
	if err != nil {
		return "", err
	}
	// sshd reads this file as the account, whose it needn't be.
	err = os.WriteFile(filepath.Join(dir, "authorized_keys"), ssh.MarshalAuthorizedKey(mine), 0o644)
	return filepath.Join(dir, "sshd_config"), err
}

func newKey(name string) (ssh.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "berth test")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(public)
}

// penalties reports whether this sshd knows that option: from 9.8 on it locks
// out an address that tried wrong passwords, and older ones refuse the word.
func penalties(program string) bool {
	text, err := os.ReadFile(program)
	return err == nil && strings.Contains(string(text), "persourcepenalties")
}
