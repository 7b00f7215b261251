package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"time"

	"berth/ipc"
	"berth/session"
)

// piece is what a message larger than the cache is sent in.
const piece = 256 << 10

// viaBerth goes from the engine's host to a companion: the payload lies in the
// companion's block, and is copied in here and copied out there.
type viaBerth struct {
	e   *ipc.Engine
	s   *ipc.Session
	cmd *exec.Cmd
	dir string
}

func startBerth(size int) (transport, int, error) {
	s, err := session.Named(fmt.Sprintf("bench-%d", os.Getpid()))
	if err != nil {
		return nil, 0, err
	}
	dir, err := s.RuntimeDir()
	if err != nil {
		return nil, 0, err
	}
	e, err := ipc.NewEngine(s, ipc.Options{Incoming: 4 << 20})
	if err != nil {
		return nil, 0, err
	}
	cmd, err := child("berth", e.Endpoint())
	if err != nil {
		return nil, 0, err
	}
	v := &viaBerth{e: e, cmd: cmd, dir: dir}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if v.s, err = e.Open(context.Background(), "peer/bench", binary.LittleEndian.AppendUint64(nil, uint64(size))); err == nil {
			return v, cmd.Process.Pid, nil
		}
		if time.Now().After(end) {
			v.close()
			return nil, 0, err
		}
	}
}

func (v *viaBerth) echo() error {
	p, err := v.s.Alloc(context.Background(), 64)
	if err != nil {
		return err
	}
	m, err := v.s.Call(context.Background(), p)
	if err != nil {
		return err
	}
	m.Release()
	return nil
}

func (v *viaBerth) push(src []byte, count int) error {
	ctx := context.Background()
	for i := range count {
		for rest := src; len(rest) > 0; {
			n := min(piece, len(rest))
			p, err := v.s.Alloc(ctx, n)
			if err != nil {
				return err
			}
			copy(p.Bytes(), rest)
			rest = rest[n:]
			if i < count-1 || len(rest) > 0 {
				if err := v.s.Send(ctx, p); err != nil {
					return err
				}
				continue
			}
			m, err := v.s.Call(ctx, p) // the last piece is answered
			if err != nil {
				return err
			}
			m.Release()
		}
	}
	return nil
}

func (v *viaBerth) close() {
	_ = v.e.Close()
	stop(v.cmd)
	_ = os.RemoveAll(v.dir)
}

func playBerth(endpoint string) error {
	c, err := ipc.Dial(context.Background(), endpoint, "peer")
	if err != nil {
		return err
	}
	c.Handle("bench", func(ctx context.Context, s *ipc.Session) {
		buf := make([]byte, binary.LittleEndian.Uint64(s.Header()))
		at := 0
		for {
			m, err := s.Recv(ctx)
			if err != nil {
				return
			}
			b := m.Bytes()
			if at += copy(buf[at:], b); at == len(buf) {
				at = 0
			}
			if m.Request() {
				p, err := s.Alloc(ctx, 64)
				if err != nil {
					return
				}
				if s.Reply(ctx, m, p) != nil {
					return
				}
			}
			m.Release()
		}
	})
	<-c.Done()
	return nil
}
