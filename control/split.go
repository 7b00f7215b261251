package control

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// face is who a connection wants to talk to, told by its first byte.
type face int

const (
	faceNone  face = iota
	faceTLS        // programs: the pinned certificate, the session key
	facePlain      // browsers: the monitor page
)

// faceOf classes a connection. 0x16 is a TLS handshake record; HTTP methods are
// upper-case letters. Nothing else has business here.
func faceOf(first byte) face {
	switch {
	case first == 0x16:
		return faceTLS
	case 'A' <= first && first <= 'Z':
		return facePlain
	}
	return faceNone
}

// conn is an accepted connection whose first byte has been read and is given
// back by the first Read.
type conn struct {
	net.Conn
	crowd  *crowd
	once   sync.Once
	first  byte
	unread bool
}

func (c *conn) Read(p []byte) (int, error) {
	if !c.unread || len(p) == 0 {
		return c.Conn.Read(p)
	}
	p[0], c.unread = c.first, false
	return 1, nil
}

func (c *conn) Close() error {
	c.once.Do(func() { c.crowd.leave(c) })
	return c.Conn.Close()
}

// queue is the listener of one face. The zero capacity makes put wait until the
// face's server takes the connection.
type queue struct {
	addr  net.Addr
	conns chan *conn
	done  chan struct{}
	close func()
}

func newQueue(addr net.Addr) *queue {
	done := make(chan struct{})
	return &queue{addr, make(chan *conn), done, sync.OnceFunc(func() { close(done) })}
}

func (q *queue) put(c *conn) {
	select {
	case q.conns <- c:
	case <-q.done:
		_ = c.Close()
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Addr() net.Addr { return q.addr }
func (q *queue) Close() error   { q.close(); return nil }

// splitter accepts for both faces. The first byte must come within wait. Foreign
// says who is sent away before that.
type splitter struct {
	foreign    func(net.Conn) bool
	listener   net.Listener
	tls, plain *queue
	crowd      *crowd
	wait       time.Duration
	peeking    sync.WaitGroup
}

// run accepts until the listener is closed, which it answers with nil. While
// descriptors are short it waits and goes on.
func (s *splitter) run() error {
	defer s.peeking.Wait()
	for pause := time.Duration(0); ; {
		raw, err := s.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			c := &conn{Conn: raw, crowd: s.crowd}
			s.crowd.enter(c)
			s.peeking.Go(func() { s.sort(c) })
		case errors.Is(err, net.ErrClosed):
			return nil
		case passing(err):
			pause = min(max(5*time.Millisecond, 2*pause), time.Second)
			time.Sleep(pause)
		default:
			return err
		}
	}
}

func passing(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (s *splitter) sort(c *conn) {
	if s.foreign(c.Conn) {
		_ = c.Close()
		return
	}
	var first [1]byte
	_ = c.Conn.SetReadDeadline(time.Now().Add(s.wait))
	if _, err := io.ReadFull(c.Conn, first[:]); err != nil {
		_ = c.Close()
		return
	}
	_ = c.Conn.SetReadDeadline(time.Time{})
	c.first, c.unread = first[0], true
	switch faceOf(first[0]) {
	case faceTLS:
		s.tls.put(c)
	case facePlain:
		s.plain.put(c)
	default:
		_ = c.Close()
	}
}
