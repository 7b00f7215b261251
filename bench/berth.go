package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"berth/ipc"
	"berth/session"
)

// piece is the largest message that is sent as one.
const piece = 64 << 10

// viaBerth goes from the engine's host to a companion: the payload lies in the
// companion's block, and is copied in here and copied out there.
type viaBerth struct {
	e   *ipc.Engine
	s   *ipc.Session
	cmd *exec.Cmd
	dir string
}

// benchSession is the session of the engines here, and its directory, which goes with
// the engine.
func benchSession() (s session.Session, dir string, err error) {
	if s, err = session.Named(fmt.Sprintf("bench-%d", os.Getpid())); err == nil {
		dir, err = s.RuntimeDir()
	}
	return s, dir, err
}

// tidyWhenStopped has the directory go as well when this program is told to end.
func tidyWhenStopped() {
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stopped
		if _, dir, err := benchSession(); err == nil {
			_ = os.RemoveAll(dir)
		}
		os.Exit(1)
	}()
}

func startBerth(size int, noSpin bool) (transport, int, error) {
	s, dir, err := benchSession()
	if err != nil {
		return nil, 0, err
	}
	e, err := ipc.NewEngine(s, ipc.Options{Incoming: 4 << 20, NoSpin: noSpin})
	if err != nil {
		return nil, 0, errors.Join(err, os.RemoveAll(dir))
	}
	role := "berth"
	if noSpin {
		role = "berth no spin"
	}
	cmd, err := child(role, e.Endpoint())
	if err != nil {
		return nil, 0, errors.Join(err, e.Close(), os.RemoveAll(dir))
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

// push sends what fits one piece as a message, and more as a stream, which is how a
// program would send it.
func (v *viaBerth) push(src []byte, count int) error {
	ctx := context.Background()
	if len(src) > piece {
		return v.pushStream(src, count)
	}
	for range count - 1 {
		if err := v.s.SendBytes(ctx, src); err != nil {
			return err
		}
	}
	p, err := v.s.Alloc(ctx, len(src))
	if err != nil {
		return err
	}
	p.Fill(src)
	return v.answered(v.s.Call(ctx, p)) // the last one is answered
}

func (v *viaBerth) pushStream(src []byte, count int) error {
	ctx := context.Background()
	w := v.s.Writer(ctx)
	for range count {
		if _, err := w.Write(src); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return v.answered(v.s.Recv(ctx))
}

func (v *viaBerth) answered(m *ipc.Message, err error) error {
	if err == nil {
		m.Release()
	}
	return err
}

func (v *viaBerth) close() {
	_ = v.e.Close()
	stop(v.cmd)
	_ = os.RemoveAll(v.dir)
}

func playBerth(endpoint string, opts ...ipc.DialOption) error {
	c, err := ipc.Dial(context.Background(), endpoint, "peer", opts...)
	if err != nil {
		return err
	}
	c.Handle("bench", func(ctx context.Context, s *ipc.Session) {
		buf := make([]byte, binary.LittleEndian.Uint64(s.Header()))
		for {
			do := receive
			if len(buf) > piece {
				do = receiveStream
			}
			if do(ctx, s, buf) != nil {
				return
			}
		}
	})
	<-c.Done()
	return nil
}

// receive copies one message out and answers it when it is a request.
func receive(ctx context.Context, s *ipc.Session, buf []byte) error {
	m, err := s.Recv(ctx)
	if err != nil {
		return err
	}
	defer m.Release()
	m.CopyTo(buf)
	if !m.Request() {
		return nil
	}
	p, err := s.Alloc(ctx, 64)
	if err != nil {
		return err
	}
	return s.Reply(ctx, m, p)
}

// receiveStream copies messages of len(buf) bytes out of a stream to its end, and answers that.
func receiveStream(ctx context.Context, s *ipc.Session, buf []byte) error {
	r := s.Reader(ctx)
	for {
		if _, err := io.ReadFull(r, buf); errors.Is(err, io.EOF) {
			return s.SendBytes(ctx, buf[:1])
		} else if err != nil {
			return err
		}
	}
}
