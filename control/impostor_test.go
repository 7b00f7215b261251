package control_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"berth/control"
)

// impostor holds the controller's port and records every byte it is sent.
type impostor struct {
	net.Listener
	mu    sync.Mutex
	got   bytes.Buffer // as it came
	plain bytes.Buffer // what TLS made of it
	dials int
}

func (i *impostor) record(to *bytes.Buffer, p []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	to.Write(p)
}

// tap records what a connection reads.
type tap struct {
	net.Conn
	i *impostor
}

func (t tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.i.record(&t.i.got, p[:n])
	return n, err
}

func pose(t *testing.T, face func(i *impostor, c net.Conn)) *impostor {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &impostor{Listener: l}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			i.mu.Lock()
			i.dials++
			i.mu.Unlock()
			wait.Go(func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				face(i, tap{c, i})
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wait.Wait() })
	return i
}

func overTLS(cert tls.Certificate) func(i *impostor, c net.Conn) {
	return func(i *impostor, c net.Conn) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		buf := make([]byte, 4096)
		for {
			n, err := s.Read(buf)
			i.record(&i.plain, buf[:n])
			if err != nil {
				return
			}
			_, _ = s.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
		}
	}
}

// TestImpostorLearnsNothing: whoever took the port after a crash sees a TLS
// greeting and no more, whatever it answers.
func TestImpostorLearnsNothing(t *testing.T) {
	genuine, sum, err := control.NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := control.NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	key := [32]byte{0xde, 0xad, 0xbe, 0xef, 5: 0x42}
	for name, face := range map[string]func(i *impostor, c net.Conn){
		"silent": func(_ *impostor, c net.Conn) { _, _ = c.Read(make([]byte, 4096)) },
		"HTTP": func(_ *impostor, c net.Conn) {
			_, _ = io.ReadAtLeast(c, make([]byte, 4096), 1)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
		},
		"redirect": func(_ *impostor, c net.Conn) {
			_, _ = io.ReadAtLeast(c, make([]byte, 4096), 1)
			_, _ = c.Write([]byte("HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"))
		},
		"its own certificate":                    overTLS(other),
		"the certificate without its key":        overTLS(tls.Certificate{Certificate: genuine.Certificate, PrivateKey: other.PrivateKey}),
		"the certificate at the end of a chain":  overTLS(tls.Certificate{Certificate: [][]byte{other.Certificate[0], genuine.Certificate[0]}, PrivateKey: other.PrivateKey}),
		"the certificate at the head of a chain": overTLS(tls.Certificate{Certificate: [][]byte{genuine.Certificate[0], other.Certificate[0]}, PrivateKey: other.PrivateKey}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := pose(t, face)
			target := control.Target{Addr: i.Addr().String(), CertSHA256: sum, Key: key}
			c := &control.Client{Resolve: func(context.Context) (control.Target, error) { return target, nil }}
			defer c.Close()
			_, err := c.New(t.Context(), control.NewPackage{Name: "secret name"})
			var e *control.Error
			if !errors.As(err, &e) || e.Code != control.CodeUnavailable {
				t.Errorf("the client said %v", err)
			}
			i.mu.Lock()
			defer i.mu.Unlock()
			if i.dials == 0 || i.got.Len() == 0 {
				t.Fatal("the impostor was never asked: the test shows nothing")
			}
			if i.plain.Len() > 0 {
				t.Errorf("the impostor read %q", i.plain.Bytes())
			}
			for _, secret := range []string{
				string(key[:]), hex.EncodeToString(key[:]), base64.StdEncoding.EncodeToString(key[:]), "Bearer", "secret name", "/v1/",
			} {
				if bytes.Contains(i.got.Bytes(), []byte(secret)) {
					t.Errorf("the impostor was sent %q", secret)
				}
			}
		})
	}
}

// TestClientStaysOnLoopback: a record that somebody forged can't lead it away.
func TestClientStaysOnLoopback(t *testing.T) {
	for _, addr := range []string{
		"", "localhost:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.2:80", "[::1]:80", "10.0.0.1:80", "evil.example:443",
		"127.0.0.1:80@evil.example:80", "[::ffff:127.0.0.1]:80", "0.0.0.0:80", "127.0.0.1:99999",
	} {
		c := &control.Client{Resolve: func(context.Context) (control.Target, error) {
			return control.Target{Addr: addr, Key: [32]byte{1}}, nil
		}}
		_, err := c.Status(t.Context())
		var e *control.Error
		if !errors.As(err, &e) || e.Code != control.CodeRefused {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
