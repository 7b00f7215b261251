package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"berth/ipc"
)

// cpuTime is what a process has used of the processors.
func cpuTime(pid int) time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|2), &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// stream is any pair of byte streams: sockets and pipes. A task is 16 bytes: size
// and count; 64 bytes are echoed, the rest is acknowledged once.
type stream struct {
	r       io.Reader
	w       io.Writer
	cmd     *exec.Cmd
	stop    []io.Closer
	buf     [64]byte
	echoing bool
}

func (s *stream) task(size, count int) error {
	var head [16]byte
	binary.LittleEndian.PutUint64(head[:], uint64(size))
	binary.LittleEndian.PutUint64(head[8:], uint64(count))
	_, err := s.w.Write(head[:])
	return err
}

func (s *stream) echo() error {
	if !s.echoing {
		s.echoing = true
		if err := s.task(64, 1<<40); err != nil {
			return err
		}
	}
	if _, err := s.w.Write(s.buf[:]); err != nil {
		return err
	}
	_, err := io.ReadFull(s.r, s.buf[:])
	return err
}

func (s *stream) push(src []byte, count int) error {
	if err := s.task(len(src), count); err != nil {
		return err
	}
	for range count {
		if _, err := s.w.Write(src); err != nil {
			return err
		}
	}
	_, err := io.ReadFull(s.r, s.buf[:1])
	return err
}

func (s *stream) close() {
	for _, c := range s.stop {
		_ = c.Close()
	}
	stop(s.cmd)
}

func startSocket(network string) (transport, int, error) {
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "bench")
		if err != nil {
			return nil, 0, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		address = filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = l.Close() }()
	cmd, err := child(network, l.Addr().String())
	if err != nil {
		return nil, 0, err
	}
	c, err := l.Accept()
	if err != nil {
		stop(cmd)
		return nil, 0, err
	}
	return &stream{r: c, w: c, cmd: cmd, stop: []io.Closer{c}}, cmd.Process.Pid, nil
}

func startPipe(int) (transport, int, error) {
	there, in, err := os.Pipe()
	if err != nil {
		return nil, 0, err
	}
	out, back, err := os.Pipe()
	if err != nil {
		return nil, 0, err
	}
	cmd, err := child("pipe", "", there, back)
	_ = there.Close()
	_ = back.Close()
	if err != nil {
		return nil, 0, err
	}
	return &stream{r: out, w: in, cmd: cmd, stop: []io.Closer{in, out}}, cmd.Process.Pid, nil
}

// play is the other process.
func play(role string) error {
	address := os.Getenv("BENCH_ADDRESS")
	switch role {
	case "tcp", "unix":
		c, err := net.Dial(role, address)
		if err != nil {
			return err
		}
		return serveStream(c, c)
	case "pipe":
		return serveStream(os.NewFile(3, "there"), os.NewFile(4, "back"))
	case "berth":
		return playBerth(address)
	case "berth no spin":
		return playBerth(address, ipc.NoSpin())
	case "futex":
		return playFutex()
	case "looker":
		return playLooker(address)
	case "mover":
		return playMover(address)
	case "shmipc":
		return playShmipc(address)
	}
	return fmt.Errorf("no such role")
}

func serveStream(r io.Reader, w io.Writer) error {
	var head [16]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil
		}
		size, count := binary.LittleEndian.Uint64(head[:]), binary.LittleEndian.Uint64(head[8:])
		buf := make([]byte, size)
		for range count {
			if _, err := io.ReadFull(r, buf); err != nil {
				return nil
			}
			if size == 64 {
				if _, err := w.Write(buf); err != nil {
					return nil
				}
			}
		}
		if _, err := w.Write(head[:1]); err != nil {
			return nil
		}
	}
}
