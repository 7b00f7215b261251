package ipc

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNobodyIsLetInWithTheLastDescriptors lowers this process's own limit.
func TestNobodyIsLetInWithTheLastDescriptors(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("echo", echo)
	first := testClient(t, e, "first")
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	used, limit, ok := descriptors()
	if !ok || limit != int(min(before.Cur, 1<<30)) || used < 10 || used > 1000 {
		t.Fatalf("%d of %d, %v", used, limit, ok)
	}
	low := before
	low.Cur = uint64(used + keptDescriptors)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }()
	_, err := Dial(testContext(t), e.Endpoint(), "second")
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "file descriptors are left") {
		t.Fatalf("got %v", err)
	}
	if d := lastDrop(t, e); d.Name != "second" || d.Kind != "quota" {
		t.Fatalf("%+v", d)
	}
	p, err := first.Alloc(testContext(t), 10<<20) // a descriptor more, for one who is here
	if err != nil {
		t.Fatal(err)
	}
	p.Release()
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	testClient(t, e, "second")
}
