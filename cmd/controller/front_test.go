package main

import (
	"io"
	"net"
	"os/exec"
	"sync"
)

// frontKey finds the front of a script among its values.
type frontKey struct{}

// front is an address that a server has as long as it is up: it can go down and
// come back, and another server can come up under the same address.
type front struct {
	mu     sync.Mutex // guards all
	addr   string
	target string
	l      net.Listener
	conns  map[net.Conn]bool

	companion *exec.Cmd // of the script's own goroutine
}

// up makes target reachable under the front's address.
func (f *front) up(target string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	addr := f.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	f.addr, f.target, f.l, f.conns = l.Addr().String(), target, l, map[net.Conn]bool{}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go f.forward(near, target)
		}
	}()
	return nil
}

func (f *front) forward(near net.Conn, target string) {
	defer near.Close()
	far, err := net.Dial("tcp4", target)
	if err != nil {
		return
	}
	defer far.Close()
	f.mu.Lock()
	f.conns[near], f.conns[far] = true, true
	f.mu.Unlock()
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(near, far)
}

// down cuts every connection and refuses new ones.
func (f *front) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.l == nil {
		return
	}
	_ = f.l.Close()
	for c := range f.conns {
		_ = c.Close()
	}
	f.l = nil
}
