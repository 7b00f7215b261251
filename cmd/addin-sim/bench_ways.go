package main

import (
	"context"
	"io"
	"net"

	"berth/ipc"
)

// memoryWay goes through the engine.
type memoryWay struct {
	ctx     context.Context
	session *ipc.Session
}

func (w *memoryWay) ping(b []byte) error { return w.call(b, len(b)) }

// call sends one message as a request, filled with b, and waits for the answer.
func (w *memoryWay) call(b []byte, n int) error {
	p, err := w.session.Alloc(w.ctx, n)
	if err != nil {
		return err
	}
	p.Fill(b)
	m, err := w.session.Call(w.ctx, p)
	if err != nil {
		return err
	}
	m.Release()
	return nil
}

// send makes the last message a request: its answer says that all were copied.
func (w *memoryWay) send(b []byte, count int) error {
	for range count - 1 {
		p, err := w.session.Alloc(w.ctx, len(b))
		if err != nil {
			return err
		}
		p.Fill(b)
		if err := w.session.Send(w.ctx, p); err != nil {
			return err
		}
	}
	return w.call(b, len(b))
}

// copyWay is the limit: one copy, in one process.
type copyWay struct{ own []byte }

func (w *copyWay) ping(b []byte) error { return w.send(b, 1) }

func (w *copyWay) send(b []byte, count int) error {
	w.own = grown(w.own, len(b))
	for range count {
		copy(w.own, b)
	}
	return nil
}

// socketWay goes through a stream of the kernel's.
type socketWay struct {
	conn net.Conn
	ball []byte // a head and a small message, so that a ping is one write
}

func (w *socketWay) ping(b []byte) error {
	w.ball = append(appendHead(w.ball[:0], len(b), 1), b...)
	if _, err := w.conn.Write(w.ball); err != nil {
		return err
	}
	_, err := io.ReadFull(w.conn, b)
	return err
}

func (w *socketWay) send(b []byte, count int) error {
	if _, err := w.conn.Write(appendHead(nil, len(b), count)); err != nil {
		return err
	}
	for range count {
		if _, err := w.conn.Write(b); err != nil {
			return err
		}
	}
	_, err := io.ReadFull(w.conn, b[:1])
	return err
}
