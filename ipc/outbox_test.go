package ipc

import (
	"errors"
	"testing"
)

// brokenCarrier is a stream that takes nothing any more.
type brokenCarrier struct{ err error }

func (b brokenCarrier) try([]byte, []grant) (int, error) { return 0, b.err }
func (b brokenCarrier) push([]byte, []grant) error       { return b.err }
func (b brokenCarrier) keep(*letter) error               { return nil }

// TestADoorbellThatCanNotBeRungEndsTheStream: nobody hears that it failed, and it would
// never be rung again.
func TestADoorbellThatCanNotBeRungEndsTheStream(t *testing.T) {
	severed := make(chan struct{}, 2)
	o := newOutbox(brokenCarrier{errors.New("too many references")}, func() { severed <- struct{}{} })
	o.hint(frameDoorbell)
	<-severed
	if err := o.post(letter{data: []byte("frame")}); err == nil {
		t.Error("it took a frame")
	}
	later := newOutbox(lateCarrier{}, func() { severed <- struct{}{} })
	later.hint(frameDoorbell) // kept, and found out when it is delivered
	<-severed
}

// lateCarrier is full, and breaks while somebody waits for room.
type lateCarrier struct{}

func (lateCarrier) try([]byte, []grant) (int, error) { return 0, nil }
func (lateCarrier) push([]byte, []grant) error       { return errors.New("broken") }
func (lateCarrier) keep(*letter) error               { return nil }
