package ipc

import (
	"fmt"
	"log/slog"
	"time"
)

// Options of an engine. The zero value is a good one.
type Options struct {
	Log *slog.Logger
	// Budget is the most payload memory that all blocks together may take, in bytes;
	// by default a quarter of the memory that this process may use. A companion takes
	// 128 KiB at least.
	Budget int64
	// Share is the most of it that the block of one companion may take, in bytes; by
	// default three quarters. What others send it whole counts too, but for the first of
	// those that it holds.
	Share int64
	// Cache is the most memory that retained payloads may take beside that, in bytes;
	// by default a quarter of the budget.
	Cache int64
	// Outgoing and Incoming are the sizes that the halves of a block start with, in
	// bytes; by default 4 MiB and 1 MiB. Each is cut to 1/256 of the budget that is left
	// when the companion registers, and to whole 64 KiB, of which it gets one at least:
	// 4 MiB take a budget of 1 GiB. Who needs more than that gets it when it does.
	Outgoing, Incoming int
	// Largest is the largest parcel, in bytes; by default half the budget, at most 4 GiB. It
	// is cut to what a companion can get beside the halves that it starts with.
	Largest int
	// Unit is the smallest piece of memory: 2048 bytes, or 4096 with every other value.
	Unit int
	// Window is how many messages of a session may be under way; by default 64, at most 256.
	Window int
	// Companions is how many may be registered; by default (and at most) 4096.
	Companions int
	// NoSpin has the engine sleep in the kernel at once where it would look for another
	// message for up to 50 microseconds: less power, and round trips that take several
	// times as long.
	NoSpin bool

	patience time.Duration // with a companion that registers
	stall    time.Duration // of a payload that is being retained
	extents  int           // of one companion
}

const defaultSlots = 256

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Budget <= 0 {
		o.Budget = usableMemory() / 4
	}
	if o.Share <= 0 {
		o.Share = o.Budget / 4 * 3
	}
	if o.Cache <= 0 {
		o.Cache = o.Budget / 4
	}
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&o.Outgoing, 4<<20)
	set(&o.Incoming, 1<<20)
	set(&o.Largest, int(min(o.Budget/2, 4<<30)))
	o.Largest = min(o.Largest, o.attainable())
	set(&o.Window, 64)
	set(&o.Companions, directoryCapacity)
	set(&o.extents, maxExtents)
	o.patience = max(o.patience, helloTimeout)
	if o.stall <= 0 {
		o.stall = stallTime
	}
	if o.Unit != minUnit {
		o.Unit = 4096
	}
	o.Window = min(o.Window, defaultSlots)
	o.Companions = min(o.Companions, directoryCapacity)
	return o
}

// attainable is the largest parcel for which there can be room in a block beside the
// halves that it starts with.
func (o Options) attainable() int {
	out, in := startSize(0, o.Outgoing, o, o.Budget), startSize(0, o.Incoming, o, o.Budget)
	left := min(o.Budget, o.Share) - int64(out+in)
	return int(max(floorSize, left/floorSize*floorSize))
}

// habitable says why nobody would ever fit in.
func (o Options) habitable() error {
	if o.Budget < 2*floorSize {
		return fmt.Errorf("%w: in a budget of %d bytes no companion fits; next: give the engine %d at least", ErrNoMemory, o.Budget, 2*floorSize)
	}
	return nil
}
