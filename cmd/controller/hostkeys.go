package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"berth/control"
)

// hostKeys are the pinned keys of SSH servers: a file in the format of OpenSSH's
// known_hosts, but of our own, so that trusting a server here is a decision made
// here. A key is never replaced: who trusts another one removes the line first.
type hostKeys struct {
	file string
	// decide answers nil for a key of an unknown host that may be pinned.
	decide func(addr string, key ssh.PublicKey) error
}

func hostKeysBeside(configFile string) hostKeys {
	return hostKeys{file: filepath.Join(filepath.Dir(configFile), "known_hosts"), decide: refuseUnknown}
}

// refuseUnknown is the answer where nobody can be asked.
func refuseUnknown(addr string, key ssh.PublicKey) error {
	return failure(control.CodeUnknownKey,
		"Compare this fingerprint with the one its administrator gives you, then run `controller destinations test NAME`.",
		"the server %s is not known yet: its key is %s %s", addr, key.Type(), ssh.FingerprintSHA256(key))
}

// Lookup answers the keys pinned for addr (host:port); none means unknown.
func (h hostKeys) Lookup(addr string) ([]ssh.PublicKey, error) {
	text, err := os.ReadFile(h.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var keys []ssh.PublicKey
	want := knownhosts.Normalize(addr)
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		_, hosts, key, _, _, err := ssh.ParseKnownHosts(lines.Bytes())
		if err != nil {
			continue // blank, a comment, or nothing that pins a key
		}
		for _, host := range hosts {
			if host == want {
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}

// Pin remembers the key of a host that was unknown until now, if it may.
func (h hostKeys) Pin(addr string, key ssh.PublicKey) error {
	if err := h.decide(addr, key); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(h.file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(h.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, knownhosts.Line([]string{addr}, key))
	return errors.Join(err, f.Sync(), f.Close())
}

// acceptOnly pins exactly the key with this fingerprint.
func acceptOnly(fingerprint string) func(string, ssh.PublicKey) error {
	return func(addr string, key ssh.PublicKey) error {
		if ssh.FingerprintSHA256(key) == fingerprint {
			return nil
		}
		return failure(control.CodeRefused,
			"Do not go on before the server's administrator has explained it.",
			"the server %s shows the key %s, not the expected %s", addr, ssh.FingerprintSHA256(key), fingerprint)
	}
}

// askAbout lets the person at the terminal decide. Only the word yes is a yes.
func (p *program) askAbout(addr string, key ssh.PublicKey) error {
	if !onTerminal(p.in) {
		return failure(control.CodeUnknownKey,
			"Compare the fingerprint, then run the test on a terminal, or with --accept-host-key "+ssh.FingerprintSHA256(key)+".",
			"the server %s is not known yet: its key is %s %s", addr, key.Type(), ssh.FingerprintSHA256(key))
	}
	fmt.Fprintf(p.err, "The server %s is not known yet. Its key (%s) has the fingerprint\n  %s\n"+
		"Compare it with the one that the server's administrator gives you.\nTrust this server from now on? Type yes or no: ",
		addr, key.Type(), ssh.FingerprintSHA256(key))
	answer, err := bufio.NewReader(p.in).ReadString('\n')
	if err == nil && strings.TrimSpace(answer) == "yes" {
		return nil
	}
	return failure(control.CodeUnknownKey, "Nothing was sent there.", "the key of %s was not accepted", addr)
}
