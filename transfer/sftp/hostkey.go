package sftp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/transfer"
)

// KnownHosts remembers the keys of hosts. addr is host:port as configured. It is
// safe for concurrent use.
type KnownHosts interface {
	// Lookup answers the keys pinned for addr; none when it is unknown.
	Lookup(addr string) ([]ssh.PublicKey, error)
	// Pin is asked when addr is unknown. Nil trusts key from now on; an error
	// refuses it and is passed on.
	Pin(addr string, key ssh.PublicKey) error
}

// HostKeyError says that a host showed a key that isn't trusted: an unknown one
// when Want is empty, a changed one otherwise. Fingerprints look like
// "SHA256:…". It wraps [transfer.ErrUnauthorized].
type HostKeyError struct {
	Addr string
	Got  string
	Want []string
}

func (e *HostKeyError) Error() string {
	if len(e.Want) == 0 {
		return fmt.Sprintf("the host key of %s is not known: its fingerprint is %s; compare it with what the server's owner says, then accept it", e.Addr, e.Got)
	}
	return fmt.Sprintf("THE HOST KEY OF %s HAS CHANGED: it was %s and is now %s. Somebody may be listening in, or the server was set up anew: ask its owner before you remove the old key",
		e.Addr, strings.Join(e.Want, " or "), e.Got)
}

// Unwrap answers [transfer.ErrUnauthorized].
func (e *HostKeyError) Unwrap() error { return transfer.ErrUnauthorized }

// hostKeys checks the key of one handshake.
type hostKeys struct {
	addr    string
	known   KnownHosts
	pinned  []ssh.PublicKey
	refused error
}

// algorithms makes the server show the kind of key that is pinned: one of
// another kind would look like a changed key.
func (h *hostKeys) algorithms() (names []string, err error) {
	if h.known == nil {
		return nil, nil
	}
	if h.pinned, err = h.known.Lookup(h.addr); err != nil {
		return nil, fmt.Errorf("the known hosts can't be read: %w", err)
	}
	for _, k := range h.pinned {
		kinds := []string{k.Type()}
		if k.Type() == ssh.KeyAlgoRSA {
			kinds = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, kind := range kinds {
			if !slices.Contains(names, kind) {
				names = append(names, kind)
			}
		}
	}
	return names, nil
}

// check is the handshake's callback.
func (h *hostKeys) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	h.refused = h.verdict(key)
	return h.refused
}

func (h *hostKeys) verdict(key ssh.PublicKey) error {
	e := &HostKeyError{Addr: h.addr, Got: ssh.FingerprintSHA256(key)}
	for _, k := range h.pinned {
		if bytes.Equal(k.Marshal(), key.Marshal()) {
			return nil
		}
		e.Want = append(e.Want, ssh.FingerprintSHA256(k))
	}
	if len(e.Want) > 0 || h.known == nil {
		return e
	}
	if err := h.known.Pin(h.addr, key); err != nil {
		return errors.Join(err, e)
	}
	return nil
}
