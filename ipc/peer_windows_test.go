package ipc

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/windows"
)

// TestTheVigilSeesEveryEnd has events stand for processes: more than one call can
// wait for, ending and released in any order while others come.
func TestTheVigilSeesEveryEnd(t *testing.T) {
	var v vigil
	var wards []*ward
	for range 5 * perShift {
		wards = append(wards, watchEvent(t, &v))
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	rnd.Shuffle(len(wards), func(i, j int) { wards[i], wards[j] = wards[j], wards[i] })
	rest, gone := wards[:perShift], wards[perShift:]
	for i, w := range gone {
		if i%3 == 0 {
			release(t, &v, w)
		} else if err := windows.SetEvent(w.process); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			rest = append(rest[:len(rest):len(rest)], watchEvent(t, &v))
		}
	}
	for i, w := range gone {
		<-w.over
		if ended := i%3 != 0; w.ended != ended {
			t.Fatalf("%d: ended %v", i, w.ended)
		}
		release(t, &v, w)
	}
	for _, w := range rest {
		select {
		case <-w.over:
			t.Fatal("one that goes on was taken for dead")
		default:
		}
		release(t, &v, w)
	}
	waitFor(t, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.shifts) == 0
	})
}

func watchEvent(t *testing.T, v *vigil) *ward {
	t.Helper()
	h, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := v.watch(h)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func release(t *testing.T, v *vigil, w *ward) {
	t.Helper()
	if err := v.release(w); err != nil {
		t.Fatal(err)
	}
}

func TestAReusedNumberIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		created, seen, now uint64
		want               bool
	}{
		"before it was seen":       {90, 100, 110, false},
		"in that very moment":      {100, 100, 110, false},
		"after it":                 {101, 100, 110, true},
		"at last":                  {110, 100, 110, true},
		"before the clock went":    {5000, 100, 110, false},
		"and it went back between": {90, 100, 80, false},
	} {
		if got := reused(c.created, c.seen, c.now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	self := windows.GetCurrentProcessId()
	h, err := openClient(self, now())
	if err != nil {
		t.Fatal(err)
	}
	_ = windows.CloseHandle(h)
	if h, err := openClient(self, 1); err == nil {
		_ = windows.CloseHandle(h)
		t.Fatal("it took a process that began after its client had been seen")
	}
}
