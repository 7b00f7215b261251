package control

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The limits of the port. All of them hold before anyone has proved anything.
const (
	maxBody      = 1 << 20          // bytes of a request body
	maxToken     = 4 << 10          // bytes of a body of which anybody may send one
	maxHeader    = 32 << 10         // bytes of a request's head
	maxStrangers = 128              // connections that have proved nothing
	maxFriends   = 1024             // connections that have
	firstByte    = 5 * time.Second  // for a connection to say what it is
	readHeader   = 5 * time.Second  // for the TLS handshake, and again for the head
	readRequest  = 15 * time.Second // for the whole request
	writeReply   = 15 * time.Second // for an answer or one event to be taken
	idle         = 2 * time.Minute  // between two requests
	heartbeat    = 15 * time.Second // between two signs of life of a watch stream
)

// ServerConfig is what a server is made of. Service, Cert and Key are needed.
type ServerConfig struct {
	Service Service
	Cert    tls.Certificate // of NewCertificate, one for each generation
	Key     [32]byte        // the session key of this generation
	Monitor http.Handler    // the files of the monitor page; nil means no page
	Log     *slog.Logger    // nil means none
}

// String keeps the key out of whatever prints a configuration.
func (ServerConfig) String() string { return "control.ServerConfig" }

// GoString keeps it out of %#v too.
func (c ServerConfig) GoString() string { return c.String() }

// Server answers programs and the monitor page on one loopback port. Make it
// with [NewServer]; one Serve for each Server.
type Server struct {
	config   ServerConfig
	bearer   string
	visitors *visitors
	crowd    *crowd
	failures *rate.Limiter  // how fast wrong credentials are answered
	noise    rate.Sometimes // how often a refusal is logged
	ending   context.Context
	end      context.CancelFunc

	mu       sync.Mutex // guards what follows
	origin   string     // "127.0.0.1:port", once serving
	listener net.Listener
	servers  []*http.Server
}

// NewServer prepares a server; nothing listens yet.
func NewServer(c ServerConfig) *Server {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	ending, end := context.WithCancel(context.Background())
	return &Server{
		config:   c,
		bearer:   hex.EncodeToString(c.Key[:]),
		visitors: newVisitors(),
		crowd:    newCrowd(maxStrangers, maxFriends),
		failures: rate.NewLimiter(rate.Every(200*time.Millisecond), 10),
		noise:    rate.Sometimes{First: 10, Interval: 10 * time.Second},
		ending:   ending, end: end,
	}
}

// Serve answers on l, a listener on 127.0.0.1 that it takes over, until
// [Server.Shutdown]; then it returns nil.
func (s *Server) Serve(l net.Listener) error {
	programs, browsers, split, err := s.open(l)
	if err != nil {
		_ = l.Close()
		if s.ending.Err() != nil {
			return nil // shut down before it began
		}
		return err
	}
	var wait sync.WaitGroup
	wait.Go(func() { _ = programs.Serve(tls.NewListener(split.tls, s.tlsConfig())) })
	wait.Go(func() { _ = browsers.Serve(split.plain) })
	err = split.run()
	_ = split.tls.Close()
	_ = split.plain.Close()
	wait.Wait()
	return err
}

func (s *Server) open(l net.Listener) (programs, browsers *http.Server, split *splitter, err error) {
	if err := s.fit(l); err != nil {
		return nil, nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil || s.ending.Err() != nil {
		return nil, nil, nil, errors.New("control: this server has been used already: make a new one")
	}
	s.listener, s.origin = l, l.Addr().String()
	programs, browsers = s.newHTTP(faceTLS), s.newHTTP(facePlain)
	s.servers = []*http.Server{programs, browsers}
	return programs, browsers, &splitter{
		listener: l, tls: newQueue(l.Addr()), plain: newQueue(l.Addr()),
		crowd: s.crowd, wait: firstByte, foreign: s.otherUser,
	}, nil
}

// otherUser tells whether another user connects, where the system can say so.
func (s *Server) otherUser(c net.Conn) bool {
	if !foreignUser(c) {
		return false
	}
	s.noise.Do(func() { s.config.Log.Warn("closed a connection of another user to the control port") })
	return true
}

// fit refuses to serve in any way that would be unsafe.
func (s *Server) fit(l net.Listener) error {
	tcp, ok := l.Addr().(*net.TCPAddr)
	switch {
	case !ok || !tcp.IP.Equal(net.IPv4(127, 0, 0, 1)):
		return fmt.Errorf("control: refusing to serve on %v: only 127.0.0.1 is private to this machine", l.Addr())
	case s.config.Key == [32]byte{}:
		return errors.New("control: refusing to serve with an empty session key")
	case len(s.config.Cert.Certificate) == 0:
		return errors.New("control: refusing to serve without a certificate")
	case s.config.Service == nil:
		return errors.New("control: nothing to serve: ServerConfig.Service is nil")
	}
	return nil
}

func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{s.config.Cert},
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"http/1.1"},
		// Every connection proves the certificate anew.
		SessionTicketsDisabled: true,
	}
}

func (s *Server) newHTTP(f face) *http.Server {
	return &http.Server{
		Handler:           s.guard(f, s.mux(f)),
		ReadHeaderTimeout: readHeader,
		ReadTimeout:       readRequest,
		IdleTimeout:       idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.config.Log.Handler(), slog.LevelDebug),
		ConnContext:       withConn,
		// OPTIONS * must meet the guard like everything else.
		DisableGeneralOptionsHandler: true,
	}
}

type connKey struct{}

// withConn lets the guard find the connection that a request came by.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// Shutdown stops accepting, ends the watch streams, lets calls that run finish
// and closes what is left when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.end()
	s.mu.Lock()
	l, servers := s.listener, s.servers
	s.mu.Unlock()
	if l == nil {
		return nil
	}
	errs := []error{}
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		errs = append(errs, err)
	}
	s.crowd.shut() // or the servers would wait seconds for them to say something
	for _, h := range servers {
		errs = append(errs, h.Shutdown(ctx))
	}
	s.crowd.disperse()
	return errors.Join(errs...)
}
