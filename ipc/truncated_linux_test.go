package ipc

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/shm"
)

// TestDescriptorsThatHaveNoRoom: who can take no more is told that, and not that the other
// side has broken the protocol.
func TestDescriptorsThatHaveNoRoom(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.TempDir() + "/s", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	from, to := streamTo(t, l)
	seg, err := shm.NewSegment(64 << 10)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = seg.Close() }()
	if err := from.write(frameExtent, extentFrame{7, passed, 64 << 10}.encode(), shareRead(seg)); err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	_, err = to.read()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err == nil || !strings.Contains(err.Error(), "more descriptors than this process may have") {
		t.Errorf("it says %v", err)
	}
}

// streamTo is both ends of a control stream through l.
func streamTo(t *testing.T, l *net.UnixListener) (from, to *unixConn) {
	t.Helper()
	c, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	if from, err = newUnixConn(c); err != nil {
		t.Fatal(err)
	}
	if to, err = newUnixConn(d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = from.close(), to.close() })
	return from, to
}
