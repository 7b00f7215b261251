package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// meter stands before a server and counts every byte that is sent to it, which
// is what "sent again" means on the wire.
type meter struct {
	t      *testing.T
	target string
	up     atomic.Int64
	tasks  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	ended bool
	open  map[io.Closer]bool
}

// epsv is an FTP server's answer that names the port of a data connection. The
// meter must stand before that one, too.
var epsv = regexp.MustCompile(`^(229 .*\(\|\|\|)(\d+)(\|\).*)$`)

func newMeter(t *testing.T, target string) (m *meter, addr string) {
	m = &meter{t: t, target: target, open: map[io.Closer]bool{}}
	addr = m.listen(target, false)
	t.Cleanup(func() {
		m.mu.Lock()
		m.ended = true
		for c := range m.open {
			_ = c.Close()
		}
		m.mu.Unlock()
		m.tasks.Wait()
	})
	return m, addr
}

// keep notes what has to be closed in the end.
func (m *meter) keep(c io.Closer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open[c] = true
	if m.ended {
		_ = c.Close()
	}
}

// listen forwards connections to target; once means only one.
func (m *meter) listen(target string, once bool) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		m.t.Error(err)
		return ""
	}
	m.keep(l)
	m.tasks.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			m.tasks.Go(func() { m.forward(near, target) })
			if once {
				_ = l.Close()
				return
			}
		}
	})
	return l.Addr().String()
}

func (m *meter) forward(near net.Conn, target string) {
	defer near.Close()
	far, err := net.Dial("tcp4", target)
	if err != nil {
		return
	}
	defer far.Close()
	m.keep(near)
	m.keep(far)
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(far, &counted{near, &m.up})
		_ = far.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		m.back(near, far)
		_ = near.(*net.TCPConn).CloseWrite()
	})
	both.Wait()
}

// back carries what the server says, with the ports of data connections replaced.
func (m *meter) back(near, far net.Conn) {
	r := bufio.NewReader(far)
	if first, err := r.Peek(4); err != nil || string(first) != "220 " {
		_, _ = io.Copy(near, r)
		return
	}
	for {
		line, err := r.ReadString('\n')
		if p := epsv.FindStringSubmatch(trimCRLF(line)); p != nil {
			_, port, _ := net.SplitHostPort(m.listen("127.0.0.1:"+p[2], true))
			line = p[1] + port + p[3] + "\r\n"
		}
		if _, werr := io.WriteString(near, line); err != nil || werr != nil {
			return
		}
	}
}

func trimCRLF(s string) string {
	for len(s) > 0 && (s[len(s)-1] == '\n' || s[len(s)-1] == '\r') {
		s = s[:len(s)-1]
	}
	return s
}

// counted adds what is read to a sum.
type counted struct {
	io.Reader
	sum *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.sum.Add(int64(n))
	return n, err
}

// number reads an environment variable that makes a test bigger.
func number(t *testing.T, text string, otherwise int64) int64 {
	t.Helper()
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(fmt.Errorf("not a number: %w", err))
	}
	return n
}
