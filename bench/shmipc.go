package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cloudwego/shmipc-go"
)

// viaShmipc is a stream of shmipc-go v0.2.0.
type viaShmipc struct {
	m   *shmipc.SessionManager
	s   *shmipc.Stream
	cmd *exec.Cmd
	dir string
}

// tune gives slices that hold a message of size bytes in one piece; 0 leaves
// everything as it comes.
func tune(c *shmipc.Config, size int) {
	c.LogOutput = io.Discard
	if size == 0 {
		return
	}
	slice := uint32(max(8<<10, size+64))
	c.ShareMemoryBufferCap = max(64<<20, slice*8+4<<20)
	c.BufferSliceSizes = []*shmipc.SizePercentPair{{Size: slice, Percent: 90}, {Size: 8 << 10, Percent: 10}}
	c.MemMapType = shmipc.MemMapTypeMemFd
}

func startShmipc(size int) (transport, int, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, 0, err
	}
	path := filepath.Join(dir, "s")
	_ = os.Setenv("BENCH_TUNE", strconv.Itoa(size))
	cmd, err := child("shmipc", path)
	if err != nil {
		return nil, 0, err
	}
	conf := shmipc.DefaultSessionManagerConfig()
	tune(conf.Config, size)
	conf.Network, conf.Address, conf.SessionNum = "unix", path, 1
	conf.ShareMemoryPathPrefix = fmt.Sprintf("/dev/shm/bench-%d", os.Getpid())
	conf.InitializeTimeout = 5 * time.Second
	v := &viaShmipc{cmd: cmd, dir: dir}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if v.m, err = shmipc.NewSessionManager(conf); err == nil { // it listens by now
			v.s, err = v.m.GetStream()
			break
		}
	}
	if err != nil {
		v.close()
		return nil, 0, err
	}
	return v, cmd.Process.Pid, nil
}

// send writes a task (size and count of what follows, as for the sockets) or a message.
func (v *viaShmipc) send(b []byte) error {
	if _, err := v.s.BufferWriter().WriteBytes(b); err != nil {
		return err
	}
	return v.s.Flush(false)
}

func (v *viaShmipc) task(size, count int) error {
	var head [24]byte
	binary.LittleEndian.PutUint64(head[:], uint64(size))
	binary.LittleEndian.PutUint64(head[8:], uint64(count))
	binary.LittleEndian.PutUint64(head[16:], uint64(batch(size)))
	return v.send(head[:])
}

// batch is how many messages are answered at a time, two batches being under way:
// without a window it runs out of memory, and once it has, it stays on its socket.
func batch(size int) int { return min(64, max(1, (8<<20)/size)) }

func (v *viaShmipc) answer(n int) error {
	_, err := v.s.BufferReader().ReadBytes(n)
	v.s.BufferReader().ReleasePreviousRead()
	return err
}

func (v *viaShmipc) echo() error {
	var b [88]byte // task and message in one
	binary.LittleEndian.PutUint64(b[:], 64)
	binary.LittleEndian.PutUint64(b[8:], 1)
	binary.LittleEndian.PutUint64(b[16:], 1)
	if err := v.send(b[:]); err != nil {
		return err
	}
	return v.answer(64)
}

func (v *viaShmipc) push(src []byte, count int) error {
	if err := v.task(len(src), count); err != nil {
		return err
	}
	under, n := 0, batch(len(src))
	for i := range count {
		if err := v.send(src); err != nil {
			return err
		}
		if (i+1)%n != 0 && i+1 != count {
			continue
		}
		if under++; under == 2 {
			if err := v.answer(1); err != nil {
				return err
			}
			under--
		}
	}
	for ; under > 0; under-- {
		if err := v.answer(1); err != nil {
			return err
		}
	}
	return nil
}

func (v *viaShmipc) close() {
	if v.s != nil {
		_ = v.s.Close()
	}
	if v.m != nil {
		_ = v.m.Close()
	}
	stop(v.cmd)
	_ = os.RemoveAll(v.dir)
}

func playShmipc(path string) error {
	size, err := strconv.Atoi(os.Getenv("BENCH_TUNE"))
	if err != nil {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	conf := shmipc.DefaultConfig()
	tune(conf, size)
	session, err := shmipc.Server(c, conf)
	if err != nil {
		return err
	}
	s, err := session.AcceptStream()
	if err != nil {
		return nil
	}
	for {
		head, err := s.BufferReader().ReadBytes(24)
		if err != nil {
			return nil
		}
		size, count := int(binary.LittleEndian.Uint64(head)), int(binary.LittleEndian.Uint64(head[8:]))
		n := int(binary.LittleEndian.Uint64(head[16:]))
		buf := make([]byte, size)
		for i := range count {
			b, err := s.BufferReader().ReadBytes(size)
			if err != nil {
				return nil
			}
			copy(buf, b)
			s.BufferReader().ReleasePreviousRead()
			out := buf[:1]
			if size == 64 {
				out = buf
			} else if (i+1)%n != 0 && i+1 != count {
				continue
			}
			if _, err := s.BufferWriter().WriteBytes(out); err != nil {
				return nil
			}
			if s.Flush(false) != nil {
				return nil
			}
		}
	}
}
