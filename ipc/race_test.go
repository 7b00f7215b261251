//go:build race

package ipc

import "testing"

// TestWhatIsTouchedTooLateIsFound: a program that is tested with the race detector learns
// of a second release, and costs nobody a parcel by it.
func TestWhatIsTouchedTooLateIsFound(t *testing.T) {
	s, _ := sunk(t)
	ctx := testContext(t)
	p := parcel(t, s, 5000)
	if err := s.Send(ctx, p); err != nil {
		t.Fatal(err)
	}
	other := parcel(t, s, 5000)
	if other == p {
		t.Error("a parcel that was sent is used again")
	}
	for name, late := range map[string]func(){
		"Release":    p.Release,
		"Bytes":      func() { p.Bytes()[0] = 1 },
		"Shorten":    func() { p.Shorten(1) },
		"of message": twice(t),
	} {
		if recovered(late) == nil {
			t.Errorf("%s: no panic", name)
		}
	}
	other.Release()
}

// twice is the second release of a message.
func twice(t *testing.T) func() {
	engine, _ := heapPair(t, 64, testHost{}, testHost{echo})
	s, err := engine.openSession(testContext(t), opening{address: "c/echo"}, "c", "echo")
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Call(testContext(t), parcel(t, s, 5))
	if err != nil {
		t.Fatal(err)
	}
	m.Release()
	return m.Release
}
