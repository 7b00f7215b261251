package ipc

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/windows"
)

// handleCount is how many of the first 16,384 handles of this process are open (wine
// does not count them); the runtime's threads have some too.
func handleCount() (n int) {
	for h := windows.Handle(4); h < 1<<16; h += 4 {
		if windows.SetHandleInformation(h, 0, 0) == nil { // changes nothing
			n++
		}
	}
	return n
}

// TestCompanionsLeaveNoHandles: neither who leaves nor who is thrown out does.
func TestCompanionsLeaveNoHandles(t *testing.T) {
	e := testEngine(t, Options{})
	round := func(n int) {
		for i := range n {
			c, err := Dial(testContext(t), e.Endpoint(), fmt.Sprint("guest", i), Sizes(64<<10, 64<<10))
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				_ = c.link.conn.write(frameWelcome, nil) // none of a companion's frames
				<-c.Done()
			}
			_ = c.Close()
		}
		waitFor(t, func() bool { return len(e.Stats().Companions) == 0 })
	}
	round(20)
	before := handleCount()
	const guests = 200
	round(guests)
	waitFor(t, func() bool { return handleCount() < before+guests/2 })
	t.Logf("%d handles before, %d after", before, handleCount())
}

// TestNothingIsPassedToWhoIsGone: the handle of its process is closed, and its number
// may be that of another process.
func TestNothingIsPassedToWhoIsGone(t *testing.T) {
	e := testEngine(t, Options{})
	c := testClient(t, e, "guest")
	m := e.member("guest")
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = windows.CloseHandle(event) }()
	given, err := m.conn.(*pipeConn).give(grant{uintptr(event), rightsEvent})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = windows.CloseHandle(given) }() // it is this very process
	_ = c.Close()
	waitFor(t, func() bool { return len(e.Stats().Companions) == 0 })
	if err := m.conn.write(frameExtent, nil, grant{uintptr(event), rightsEvent}); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	m.conn.(*pipeConn).takeBack(le.AppendUint64(nil, uint64(given)))
	if err := windows.SetEvent(given); err != nil {
		t.Fatalf("it took back what it has given, from whatever is there now: %v", err)
	}
}
