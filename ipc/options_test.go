package ipc

import "testing"

// TestOptionsGiveWhatTheySay holds the comments of Options and Sizes to what comes of them.
func TestOptionsGiveWhatTheySay(t *testing.T) {
	o := Options{Budget: 1 << 30, Window: 1000, Unit: 8192, Companions: 1 << 20}.withDefaults()
	if o.Window != 256 || o.Unit != 4096 || o.Companions != 4096 || o.Largest != 512<<20 {
		t.Errorf("window %d, unit %d, %d companions, largest %d", o.Window, o.Unit, o.Companions, o.Largest)
	}
	if o := (Options{Unit: 2048}).withDefaults(); o.Unit != 2048 || o.Window != 64 {
		t.Errorf("unit %d, window %d", o.Unit, o.Window)
	}
	for _, c := range []struct {
		wish uint64
		left int64
		want int
	}{
		{0, 1 << 30, 4 << 20},
		{0, 1<<30 - 1, 4<<20 - 64<<10},
		{1 << 20, 1 << 30, 1 << 20},
		{64 << 20, 1 << 40, 16 << 20},
		{100_000, 1 << 30, 64 << 10},
		{1, 1 << 30, 64 << 10},
		{0, 0, 64 << 10},
	} {
		if got := startSize(c.wish, o.Outgoing, o, c.left); got != c.want {
			t.Errorf("a wish of %d with %d left gets %d, want %d", c.wish, c.left, got, c.want)
		}
	}
}
