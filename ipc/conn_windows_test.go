package ipc

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/windows"
)

// TestWhoDialsAndGoesLeavesThePipeOpen: the next one must find an instance.
func TestWhoDialsAndGoesLeavesThePipeOpen(t *testing.T) {
	l := noEngine(t)
	for range 3 {
		c, _, err := dialConn(testContext(t), l.endpoint())
		if err != nil {
			t.Fatalf("it takes the engine for gone: %v", err)
		}
		_ = c.close()
		if _, _, err = l.accept(); !errors.Is(err, errStranger) {
			t.Fatalf("got %v", err)
		}
	}
}

// TestAnotherUsersPipeIsRefused: the name of a pipe can be seen by everybody, and taken by
// anybody when its engine has gone.
func TestAnotherUsersPipeIsRefused(t *testing.T) {
	l := noEngine(t)
	foreign, err := windows.SecurityDescriptorFromString("O:S-1-5-21-1-2-3-1004D:P(A;;GA;;;WD)")
	if err != nil {
		t.Fatal(err)
	}
	_ = windows.CloseHandle(l.next)
	l.sa.SecurityDescriptor = foreign
	if l.next, err = l.instance(windows.FILE_FLAG_FIRST_PIPE_INSTANCE); err != nil {
		t.Skip("this system gives nobody's things away: ", err)
	}
	c, _, err := dialConn(testContext(t), l.endpoint())
	if err == nil {
		_ = c.close()
	}
	only(t, "another user's pipe", err, ErrRefused)
}

// TestEnginesLeaveNoHandles: neither their pipes do nor what ends those.
func TestEnginesLeaveNoHandles(t *testing.T) {
	round := func(n int) {
		for range n {
			e, err := NewEngine(testSession(t), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if _, _, err := e.listener.accept(); !errors.Is(err, os.ErrClosed) {
				t.Fatalf("a closed listener: %v", err)
			}
		}
	}
	round(5)
	before := handleCount()
	const engines = 40
	round(engines)
	if after := handleCount(); after >= before+engines/2 {
		t.Errorf("%d handles before, %d after", before, after)
	}
}
