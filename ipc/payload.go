package ipc

import (
	"context"
	"fmt"
	"time"

	"berth/internal/shm"
)

// Parcel is memory that its holder fills and sends. It belongs to one goroutine
// until it is sent or released; after that neither it nor its bytes may be touched,
// for the parcel and its memory are used again, by any goroutine. Under the race detector
// parcels are not, and what is done to one too late ends in a panic or an error.
type Parcel struct {
	l      *link
	ext    *extent // nil: the bytes travel inside the record
	at     int
	data   []byte
	whole  bool // it has its extent to itself
	inline [maxInline]byte
}

// Fill copies b into the parcel, as far as both reach; it is faster than the built-in
// copy where the processor can store whole cache lines, and gives way to others where
// Tune was called. It answers 0 when the memory has vanished; Send answers ErrFault then.
func (p *Parcel) Fill(b []byte) int {
	n, _ := carry(p.shared(), p.data, nil, b, 0)
	return n
}

func (p *Parcel) fill(b []byte) error {
	_, err := carry(p.shared(), p.data, nil, b, 0)
	return err
}

// shared is the link whose memory the parcel lies in; nil when it lies in no such.
func (p *Parcel) shared() *link {
	if p.ext == nil {
		return nil
	}
	return p.l
}

// Bytes is the memory to fill. It holds what its last user left there. What is said
// at Message.Bytes holds for it too.
func (p *Parcel) Bytes() []byte { return p.data }

// Shorten keeps the first n bytes and gives the rest back at once. It panics when there
// are not as many.
func (p *Parcel) Shorten(n int) {
	if n < 0 || n > len(p.data) {
		panic(fmt.Sprintf("ipc: Shorten to %d bytes of a parcel that has %d", n, len(p.data)))
	}
	p.data = p.data[:n:n]
	if p.ext == nil {
		return
	}
	p.l.mu.Lock()
	p.ext.shorten(p.at, max(1, (n+p.l.unit-1)/p.l.unit))
	p.l.fed()
	p.l.mu.Unlock()
}

// Release gives the memory back unsent. Not after Send, Call or Reply, whatever they
// answered, and not twice: the parcel may be another goroutine's by then, which would lose
// it. So no "defer p.Release()" where p is sent.
func (p *Parcel) Release() {
	if p.data == nil {
		tooLate("a parcel was released that had been sent or released before")
		return
	}
	l := p.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := p.ext; e != nil {
		e.held--
		e.free(p.at)
		l.dropExtent(e)
		l.emptied(e)
		l.fed()
	}
	l.recycle(p)
}

// tooLate panics under the race detector, where it is certain that what was touched has
// not been used again: without that a second release may as well be of somebody else's.
func tooLate(what string) {
	if underRace {
		panic("ipc: " + what)
	}
}

// recycle keeps p for the next allocation, once. The caller holds mu.
func (l *link) recycle(p *Parcel) {
	if p.data == nil {
		return
	}
	p.ext, p.data, p.whole = nil, nil, false
	if !underRace {
		l.parcels = append(l.parcels, p)
	}
}

func (l *link) newParcel() *Parcel {
	if n := len(l.parcels); n > 0 {
		p := l.parcels[n-1]
		l.parcels = l.parcels[:n-1]
		return p
	}
	return &Parcel{l: l}
}

// take makes a parcel of n bytes from what is free now, or answers nil. The
// caller holds mu.
func (l *link) take(n int) *Parcel {
	if n <= maxInline {
		p := l.newParcel()
		p.data = p.inline[:n:n]
		return p
	}
	e, at, ok := l.mem.take(n)
	if !ok {
		return nil
	}
	p := l.newParcel()
	off := at * l.unit
	p.ext, p.at, p.data = e, at, e.seg.Bytes()[off:off+n:off+n]
	if n <= l.unit {
		claimPart(p.data, 2)
	}
	return p
}

// allocation is a goroutine that waits for memory. It gets its parcel from who
// frees memory, first come first served among those whose wish can be met.
type allocation struct {
	n      int
	whole  bool
	asked  bool // it was there when the other side was asked for more
	parcel *Parcel
	denied bool
	ch     chan struct{}
	flow   *flow // waits instead of a goroutine
}

func (a *allocation) ready() bool { return a.parcel != nil || a.denied }

// tryAlloc answers ErrNoMemory when n bytes in a row aren't free at this moment.
func (l *link) tryAlloc(n int) (*Parcel, error) { return l.tryAllocFor(n, false) }

// tryAllocFor is allocFor without waiting. Where no segment of its own is free for a
// parcel that could be one, room elsewhere will do.
func (l *link) tryAllocFor(n int, relayed bool) (*Parcel, error) {
	if err := l.checkSize(n); err != nil {
		return nil, err
	}
	whole := l.passesWhole(n, relayed)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	p := l.takeAs(n, whole)
	if p == nil && whole {
		p = l.take(n)
	}
	if p != nil {
		return p, nil
	}
	l.grow(n)
	return nil, fmt.Errorf("%w: no %d bytes in a row are free", ErrNoMemory, n)
}

// checkSize refuses what no block can hold.
func (l *link) checkSize(n int) error {
	if n < 0 {
		return fmt.Errorf("%w: a parcel of %d bytes", ErrMisuse, n)
	}
	if n > l.largest {
		return fmt.Errorf("%w: %d bytes, the largest parcel is %d; send it as a stream", ErrTooLarge, n, l.largest)
	}
	return nil
}

// passesWhole says whether a parcel of n bytes travels as a segment of its own.
func (l *link) passesWhole(n int, relayed bool) bool { return relayed && l.whole > 0 && n >= l.whole }

// alloc waits for memory until ctx ends.
func (l *link) alloc(ctx context.Context, n int) (*Parcel, error) {
	return l.allocFor(ctx, n, false)
}

// allocFor is alloc for a parcel that goes to another companion, or to the engine.
func (l *link) allocFor(ctx context.Context, n int, relayed bool) (*Parcel, error) {
	if err := l.checkSize(n); err != nil {
		return nil, err
	}
	whole := l.passesWhole(n, relayed)
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return nil, l.err
	}
	if p := l.takeAs(n, whole); p != nil {
		l.mu.Unlock()
		return p, nil
	}
	if ctx == nil { // the wait would panic, and leave a wish behind that nobody takes back
		l.mu.Unlock()
		panic("ipc: Alloc without a context")
	}
	a := &allocation{n: n, whole: whole, ch: make(chan struct{}, 1)}
	l.starving = append(l.starving, a)
	l.grow(n)
	l.mu.Unlock()
	err := l.await(ctx, a, a.ch)
	l.mu.Lock()
	p := a.parcel
	if p == nil {
		l.giveUp(a)
	}
	denied := a.denied
	if err == nil {
		err = l.err
	}
	l.mu.Unlock()
	switch {
	case p != nil:
		return p, nil
	case err != nil: // also when it was denied because the link is dead
		return nil, err
	case denied && whole:
		return l.allocFor(ctx, n, false)
	}
	return nil, fmt.Errorf("%w: %d bytes, and the engine has no more to give", ErrNoMemory, n)
}

func (l *link) giveUp(a *allocation) {
	for i, b := range l.starving {
		if a == b {
			l.starving = append(l.starving[:i], l.starving[i+1:]...)
			return
		}
	}
}

// fed serves those who wait, after memory became free. The caller holds mu.
func (l *link) fed() {
	kept := l.starving[:0]
	for _, a := range l.starving {
		if a.flow != nil { // it tries itself, and comes back if it must
			a.flow.to.hungry = false
			l.stir(a.flow)
			continue
		}
		if l.err == nil {
			a.parcel = l.takeAs(a.n, a.whole)
		}
		if a.parcel == nil {
			kept = append(kept, a)
			continue
		}
		l.notify(a.ch)
	}
	clear(l.starving[len(kept):])
	l.starving = kept
}

// grow asks for an extent, one at a time. The caller holds mu.
func (l *link) grow(n int) {
	if !l.wanting {
		l.wanting, l.wanted = true, n
		for _, a := range l.starving {
			a.asked = true
		}
		l.host.grow(l, n)
	}
}

// grown takes a new extent into the own half.
func (l *link) grown(number uint32, seg *shm.Segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanting = false
	if l.err != nil {
		_ = seg.Close()
		return
	}
	e := l.mem.add(number, seg)
	l.fed()
	l.emptied(e)
	if len(l.starving) > 0 {
		l.grow(l.starving[0].n)
	}
}

// denied tells those who can never be served by what there is that no more will come.
// Who waits for less than was asked for is asked for next, and so is who came later: others
// may have let go of memory since, and nobody asks them for it twice.
func (l *link) denied() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanting = false
	kept, next := l.starving[:0], 0
	for _, a := range l.starving {
		switch {
		case !a.whole && l.mem.couldHold(a.n):
			kept = append(kept, a)
		case l.err == nil && (a.n < l.wanted || !a.asked && l.wanted > 0):
			kept, next = append(kept, a), max(next, a.n)
		case a.flow != nil:
			a.flow.to.hungry, a.flow.to.barren = false, true
			l.stir(a.flow)
		default:
			a.denied = true
			l.notify(a.ch)
		}
	}
	clear(l.starving[len(kept):])
	if l.starving, l.wanted = kept, 0; next > 0 {
		l.grow(next)
	} else if len(kept) > 0 && l.err == nil {
		l.askTimer.Reset(askAgain)
	}
}

// askAgain is when those who were denied more, and wait for what the other side will
// release, have it asked for again: that may take for ever, and others may have given
// memory back by then.
const askAgain = time.Second

func (l *link) ask() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.starving) > 0 && l.err == nil {
		l.grow(l.starving[0].n)
	}
}
