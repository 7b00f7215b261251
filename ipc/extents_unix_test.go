//go:build unix

package ipc

import (
	"os"
	"testing"
	"time"
)

// TestASegmentIsPassedAndNoOther: a companion knows the number of its next segment, and may
// say that it has unmapped it before it was passed. What it gets then may not be whatever
// has been opened meanwhile.
func TestASegmentIsPassedAndNoOther(t *testing.T) {
	e := testEngine(t, Options{})
	c := testClient(t, e, "guest")
	m := e.member("guest")
	stream := m.conn.(*unixConn)
	stream.mu.Lock() // nothing is sent
	number := m.next.Load() + 1
	made := make(chan error, 1)
	go func() { made <- m.enlarge(outgoing, 1<<20) }()
	forgotten := make(chan struct{})
	go func() {
		defer close(forgotten)
		for m.forget(le.AppendUint32(nil, number)) != nil { // there is no such segment yet
			time.Sleep(time.Millisecond)
		}
	}()
	select {
	case <-forgotten:
	case <-time.After(200 * time.Millisecond):
	}
	for range 100 { // of others
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	stream.mu.Unlock()
	if err := <-made; err != nil {
		t.Errorf("it was not passed: %v", err)
	}
	<-forgotten
	waitFor(t, func() bool {
		c.link.mu.Lock()
		defer c.link.mu.Unlock()
		return c.link.err != nil || c.link.mem.find(number) != nil
	})
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}
