//go:build unix

package ipc

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"berth/session"
)

// TestASecondEngineIsRefused, and takes nothing from the first.
func TestASecondEngineIsRefused(t *testing.T) {
	sess := testSession(t)
	one, err := NewEngine(sess, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if two, err := NewEngine(sess, Options{}); err == nil {
		_ = two.Close()
		t.Error("there are two")
	} else if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "next:") {
		t.Errorf("got %v", err)
	}
	testClient(t, one, "a")
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(one.Endpoint()); !os.IsNotExist(err) {
		t.Errorf("a closed engine leaves its socket: %v", err)
	}
	two, err := NewEngine(sess, Options{})
	if err != nil {
		t.Fatal(err)
	}
	testClient(t, two, "a")
	_ = two.Close()
}

// TestAnEngineRemovesItsOwnSocketOnly: somebody may have cleared the directory up, and
// another engine be there.
func TestAnEngineRemovesItsOwnSocketOnly(t *testing.T) {
	sess := testSession(t)
	one, err := NewEngine(sess, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(one.Endpoint()); err != nil {
		t.Fatal(err)
	}
	two, err := NewEngine(sess, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = one.Close()
	testClient(t, two, "a")
	_ = two.Close()
}

// stale leaves what a killed engine leaves.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
}

// TestOneOfManyTakesADeadEnginesPlace: those who start at once don't remove each
// other's sockets.
func TestOneOfManyTakesADeadEnginesPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for range 3 { // each of the others waits for dyingTime
		stale(t, path)
		var wg sync.WaitGroup
		var won atomic.Pointer[listener]
		for range 3 {
			wg.Go(func() {
				l, err := listen(path)
				if err != nil {
					if !errors.Is(err, unix.EADDRINUSE) {
						t.Error(err)
					}
					return
				}
				if !won.CompareAndSwap(nil, l) {
					t.Error("two listen")
					_ = l.close()
				}
				go func() { // as an engine does
					for {
						c, _, err := l.accept()
						if err != nil {
							return
						}
						defer c.close()
					}
				}()
			})
		}
		wg.Wait()
		l := won.Load()
		if l == nil {
			t.Fatal("nobody listens")
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAHeldDirectoryIsNamed: some program has locked it, and does not let go.
func TestAHeldDirectoryIsNamed(t *testing.T) {
	dir := t.TempDir()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		l, err := listen(filepath.Join(dir, "s"))
		if err == nil {
			_ = l.close()
		}
		if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "next:") {
			t.Errorf("got %v", err)
		}
	})
}

// TestAnEngineThatDiesMeanwhileIsReplaced: its instance lock may be free before its socket.
func TestAnEngineThatDiesMeanwhileIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dying, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dying.SetUnlinkOnClose(false)
	go func() {
		_ = dying.SetDeadline(time.Now().Add(dyingTime))
		c, err := dying.Accept()
		if err == nil {
			_ = c.Close()
		}
		_ = dying.Close()
	}()
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.close()
}

// TestALongRuntimeDirectory names what is too long, by how much, and what to do.
func TestALongRuntimeDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BERTH_RUNTIME", dir)
	sess, err := session.Named("long")
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewEngine(sess, Options{})
	if !errors.Is(err, unix.ENAMETOOLONG) || !strings.Contains(err.Error(), "at most 10") || !strings.Contains(err.Error(), "BERTH_RUNTIME") {
		t.Errorf("got %v", err)
	}
}
