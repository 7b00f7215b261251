package control

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// connectAs opens a connection to addr whose socket belongs to uid: the thread
// takes that identity and ends with its goroutine.
func connectAs(t *testing.T, uid int, addr *net.TCPAddr) net.Conn {
	t.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked
		c, err := connectFromThread(uid, addr)
		done <- result{c, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { _ = r.c.Close() })
	return r.c
}

func connectFromThread(uid int, addr *net.TCPAddr) (net.Conn, error) {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return nil, errno
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer func() { _ = f.Close() }()
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

func TestForeignUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be two users")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for uid, foreign := range map[int]bool{0: false, 65534: true, 1000: true} {
		connectAs(t, uid, l.Addr().(*net.TCPAddr))
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		here, _ := addrPort(c.LocalAddr())
		there, _ := addrPort(c.RemoteAddr())
		if owner, ok := socketOwner(there, here); !ok || int(owner) != uid {
			t.Errorf("uid %d: the kernel says %d, %v", uid, owner, ok)
		}
		if got := foreignUser(c); got != foreign {
			t.Errorf("uid %d: foreign %v", uid, got)
		}
		_ = c.Close()
	}
	near, far := net.Pipe()
	if foreignUser(near) {
		t.Error("what is no TCP connection can't be judged")
	}
	_, _ = near.Close(), far.Close()
}

// TestAnotherUserIsNotHeard: not even with the right key.
func TestAnotherUserIsNotHeard(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be two users")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert, _, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerConfig{Service: &mute{}, Cert: cert, Key: [32]byte{1}})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	addr := l.Addr().(*net.TCPAddr)
	for uid, heard := range map[int]bool{0: true, 65534: false} {
		c := connectAs(t, uid, addr)
		_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: " + addr.String() + "\r\n\r\n"))
		n, err := c.Read(make([]byte, 100))
		if heard != (n > 0) {
			t.Errorf("uid %d: %d bytes, %v", uid, n, err)
		}
	}
	if err := errors.Join(s.Shutdown(t.Context()), <-served); err != nil {
		t.Error(err)
	}
}

// FuzzDiag reads any bytes as the kernel's answer.
func FuzzDiag(f *testing.F) {
	local, _ := addrPort(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80})
	f.Add([]byte{})
	f.Add(make([]byte, 88))
	f.Add(diagRequest(local, local))
	f.Fuzz(func(_ *testing.T, data []byte) { diagOwner(data, local) })
}
