// Package local is the destination that works without any configuration: a tus
// server inside this process that keeps files below a directory and serves each
// of them under a link that nobody can guess.
//
// It has two faces. Downloads come over a loopback listener of its own, another
// origin than the monitor page, so that an uploaded page can never act as it.
// Uploads come over a pipe inside the process: nobody else can even try.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"berth/transfer/internal/peer"
	"berth/transfer/tus"
)

// Config says where a Server keeps its files.
type Config struct {
	// Dir is made with mode 0700 if it is missing. Several servers may share one.
	Dir string
	// Log gets what goes wrong; nil discards it.
	Log *slog.Logger
}

// Server receives and serves objects until Close. It is safe for concurrent use.
type Server struct {
	store  *store
	log    *slog.Logger
	host   string         // 127.0.0.1:port, the one Host that downloads answer to
	faces  []*http.Server // downloads, uploads
	served chan error     // one value per face that ended
	upload *tus.Backend
}

// Limits of the download listener.
const (
	maxConns      = 256
	maxHeader     = 32 << 10
	headerTimeout = 10 * time.Second
	idleTimeout   = 60 * time.Second
)

// New opens the directory and serves it on a loopback port: the one used last
// time if it is free, so that links in old mails keep working.
func New(cfg Config) (*Server, error) {
	return open(cfg, func(d peer.Dial) peer.Dial { return d })
}

// open lets a test put faults between the backend and the server.
func open(cfg Config, through func(peer.Dial) peer.Dial) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	st, err := openStore(cfg.Dir)
	if err != nil {
		return nil, err
	}
	uploads, err := uploadHandler(st, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("local destination: %w", err)
	}
	pipes := newPipes()
	backend, err := tus.New(tus.Config{URL: uploadURL, Dial: through(pipes.dial)})
	if err != nil {
		return nil, fmt.Errorf("local destination: %w", err)
	}
	l, err := listen(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{store: st, log: cfg.Log, host: l.Addr().String(), upload: backend, served: make(chan error, 2)}
	s.face(http.HandlerFunc(s.download), limitConns(l, maxConns))
	s.face(uploads, pipes)
	return s, nil
}

func (s *Server) face(h http.Handler, l net.Listener) {
	f := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.faces = append(s.faces, f)
	go func() { s.served <- f.Serve(l) }()
}

// Base is what all links start with, such as http://127.0.0.1:49152.
func (s *Server) Base() string { return "http://" + s.host }

// Close ends both faces and every connection at once. What was received stays.
// It is called once.
func (s *Server) Close() error {
	err := s.upload.Close()
	for _, f := range s.faces {
		err = errors.Join(err, f.Close())
	}
	for range s.faces {
		if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
	}
	return err
}

// listen tries the port of last time first and remembers the one it got.
func listen(dir string) (net.Listener, error) {
	file := filepath.Join(dir, "port")
	if text, err := os.ReadFile(file); err == nil {
		if port, err := strconv.ParseUint(string(text), 10, 16); err == nil && port > 0 {
			if l, err := net.Listen("tcp4", net.JoinHostPort(loopback, string(text))); err == nil {
				return l, nil
			}
		}
	}
	l, err := net.Listen("tcp4", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, fmt.Errorf("local destination: no loopback port can be had: %w", err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := writeFile(file, []byte(port)); err != nil {
		return nil, errors.Join(fmt.Errorf("local destination: cannot remember its port: %w", err), l.Close())
	}
	return l, nil
}

// loopback is always spelled out: "localhost" may be ::1, where another program
// can have the same port.
const loopback = "127.0.0.1"

// pipes is a listener without a network: what is dialled is accepted.
type pipes struct {
	conns  chan net.Conn
	closed context.Context
	close  context.CancelFunc
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn)}
	p.closed, p.close = context.WithCancel(context.Background())
	return p
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closed.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
