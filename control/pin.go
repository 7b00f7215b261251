package control

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// errImpostor is what a server without the record's certificate is met with.
var errImpostor = errors.New("what listens on the controller's port is not the controller: its certificate is another one")

// newTransport makes the connections to one target. A connection on which the
// server has not proved that it holds the certificate's private key never
// carries a byte of a request.
func newTransport(t Target) *http.Transport {
	return &http.Transport{
		Proxy:               nil, // never: the environment must not divert loopback traffic
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13,
			// There is no authority to ask: the fingerprint in the record decides,
			// in VerifyConnection, which runs on every handshake.
			InsecureSkipVerify: true, //nolint:gosec // replaced by the pinned fingerprint below
			VerifyConnection:   func(s tls.ConnectionState) error { return verify(s, t.CertSHA256) },
		},
		DisableCompression:  true,
		ForceAttemptHTTP2:   false,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     time.Minute,
	}
}

func verify(s tls.ConnectionState, want [32]byte) error {
	if len(s.PeerCertificates) != 1 {
		return errImpostor
	}
	got := sha256.Sum256(s.PeerCertificates[0].Raw)
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return errImpostor
	}
	return nil
}

// checkAddr refuses to talk to anything but literal 127.0.0.1.
func checkAddr(addr string) error {
	a, err := netip.ParseAddrPort(addr)
	if err != nil || a.Addr() != netip.AddrFrom4([4]byte{127, 0, 0, 1}) || a.Port() == 0 {
		return &Error{Code: CodeRefused, Message: "refusing to talk to " + addr + ": a controller listens on 127.0.0.1 only",
			Next: "See `controller doctor`."}
	}
	return nil
}
