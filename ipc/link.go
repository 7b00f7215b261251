package ipc

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/shm"
)

// host is what a link needs from the engine or client it belongs to. Its methods
// don't block and call nothing of the link that locks.
type host interface {
	// open, called with the link's mu held, decides about a session that the other side opens: it either accepts it
	// (and serves it in a goroutine of its own) or answers why not.
	open(s *Session, o opening) *closing
	// grow asks for an extent of this side's half that holds n bytes in a row.
	grow(l *link, n int)
	// parting is told of an extent of this side's half before it is given back; last: a
	// smaller one shall take its place.
	parting(number uint32, seg *shm.Segment, last bool)
	// dead is called once, without locks, when nothing more will come.
	dead(l *link, err error)
}

// closing is the end of a session: a code and a reason.
type closing struct {
	code   uint32
	reason string
}

// linkConfig is what a rendezvous agreed on.
type linkConfig struct {
	peer         string // for people
	pid          int    // of the peer
	companion    bool   // which end this is
	slots        uint32
	unit, window int
	largest      int
	whole        int // parcels to companions from this size on travel as whole segments; 0: never
	noSpin       bool
	lane         *shm.Segment
	events       []uintptr // Windows only
	conn         conn
	host         host
}

// link is one end of a lane with everything that goes over it; engine and
// companion run the same code.
//
// Reading the ring is the privilege of one goroutine at a time, the leader. Who
// waits for something becomes the leader if there is none, and handles what comes
// until it has what it waits for: no message is handed from goroutine to goroutine
// that need not be. Without a leader the lane is armed for a doorbell, which the
// goroutine that reads the control stream answers, or it is hot and a timer looks
// after it for as long as that lasts (pump.go).
//
// Lock order: mu, then txMu. Neither is held while waiting.
type link struct {
	linkConfig
	bell   bell
	ctx    context.Context // ends with the link
	cancel context.CancelCauseFunc

	leader  atomic.Uint32 // leading while somebody reads rx (pump.go)
	sighted atomic.Pointer[sight]
	arms    atomic.Uint32 // doorbells that the other side might ring so far
	users   atomic.Int32  // of the lane: who takes it down, and a leader it deposed
	ending  atomic.Bool   // nobody shall lead any more but who takes the link down
	owing   atomic.Uint32 // 1 while releases wait in debts
	rung    atomic.Uint32 // a doorbell came that nobody has answered
	waiters atomic.Int32  // goroutines in await
	relayed atomic.Int32  // sessions that are passed on to another companion
	watched atomic.Uint32 // the timer runs
	watch   *time.Timer
	pumped  atomic.Uint64 // records so far
	vacant  chan struct{} // the leader of an ending link left

	// Of the leader.
	rx     consumer
	record record // the copy that is being handled
	heat   int    // the leader spins while there is some
	misses int    // spins in vain, less those that were not
	cold   int    // short waits until there may be heat again
	self   int32  // 1 when the leader is one of waiters
	seen   uint64 // pumped, at the last look of the timer

	txMu    sync.Mutex
	tx      producer
	backlog []record    // what had no room: pushed before anything else
	gone    bool        // the lane is unmapped
	short   atomic.Bool // somebody waits for room, or backlog isn't empty

	mu          sync.Mutex
	err         error // why the link is dead
	done        chan struct{}
	sessions    map[uint32]*Session
	nextID      uint32
	lastPeer    uint32 // the newest number the other side has opened
	mem         memory
	theirs      map[uint32]*foreign
	passages    map[uint32]*passage // in the engine: whole segments passed to this companion
	wanting     bool                // an extent was asked for
	shrinking   bool                // shrinkTimer runs
	pressed     bool                // memory was short; the first extent goes when it lies idle (shrink.go)
	floored     bool                // that has happened
	shrinkTimer *time.Timer
	starving    []*allocation
	room        chan struct{}
	offered     fifo[*Session] // opened by the other side, for Accept
	offer       chan struct{}
	leased      int        // bytes of messages that this side has not released
	messages    []*Message // to be used again
	unmapped    []span     // segments of the block that are gone, oldest first (fault.go)

	dispatching bool    // the leader holds mu for a record
	stirred     []*flow // to be run by the leader when the batch is through
	spare       []*flow
	parcels     []*Parcel
	debts       debts
}

func newLink(c linkConfig) (*link, error) {
	up, down := laneRings(c.lane.Bytes(), c.slots)
	l := &link{
		linkConfig: c, done: make(chan struct{}), vacant: make(chan struct{}, 1), room: make(chan struct{}, 1), offer: make(chan struct{}, 1),
		sessions: map[uint32]*Session{}, theirs: map[uint32]*foreign{}, passages: map[uint32]*passage{}, mem: memory{unit: c.unit},
	}
	rx, tx := up, down
	l.nextID = 2
	if c.companion {
		rx, tx, l.nextID = down, up, 1
	}
	l.rx, l.tx = consumer{ring: rx}, producer{ring: tx}
	l.noSpin = l.noSpin || runtime.NumCPU() == 1 // only who is not looked at can answer
	var err error
	if l.bell, err = newBell(rx.wake, tx.wake, c.events); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.watch = time.AfterFunc(time.Hour, l.look)
	l.watch.Stop()
	l.shrinkTimer = time.AfterFunc(time.Hour, l.shrink)
	l.shrinkTimer.Stop()
	l.users.Store(1)
	if err = guarded(c.lane.Bytes(), "the lane", l.begin); err != nil {
		_ = l.bell.close()
		return nil, err
	}
	return l, nil
}

// fail ends the link for err: everybody who waits gets it. The first one counts.
func (l *link) fail(err error) {
	if l.die(err) {
		_ = l.conn.close()
	}
}

// die is fail with the control stream left open; false when the link was dead.
func (l *link) die(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	l.err = err
	l.ending.Store(true)
	close(l.done)
	l.cancel(err)
	l.shake()
	for _, s := range l.sessions {
		s.end(closing{closePeer, err.Error()})
	}
	return true
}

// shake makes the leader, if there is one, look around. The caller holds mu.
//
// It only reads the word while nobody sleeps: an exchange would take the cache line
// away from the producer, which reads it with every record. Nothing is missed: who
// goes to sleep says so before it looks, under mu, for what the caller has changed.
//
// While the leader handles records it is awake, and whoever holds mu is the leader.
func (l *link) shake() {
	if l.dispatching {
		return
	}
	defer l.shaken(debug.SetPanicOnFault(true))
	if l.rx.wake.Load() == asleep && l.rx.wake.CompareAndSwap(asleep, awake) {
		l.bell.wakeSelf()
	}
}

// breach drops a peer that broke the protocol, or whose memory vanished.
func (l *link) breach(err error) {
	if !errors.Is(err, ErrFault) {
		err = fmt.Errorf("%w by %s: %w", ErrProtocol, l.peer, err)
	}
	if l.die(err) {
		_ = l.conn.write(frameFailure, []byte(clip(err.Error(), 512)))
		_ = l.conn.close()
	}
}

// tell writes a control frame; a peer that can't be told any more is lost.
func (l *link) tell(kind uint8, body []byte, grants ...grant) error {
	err := l.conn.write(kind, body, grants...)
	switch {
	case errors.Is(err, errDeaf):
		l.breach(err)
	case err != nil:
		l.fail(fmt.Errorf("%w: %s: %w", ErrPeer, l.peer, err))
	}
	return err
}

func clip(s string, n int) string { return s[:min(len(s), n)] }

// serve reads control frames until the stream ends, hands those that are not the
// link's own to other, and takes the link down.
//
// It looks at the ring at once, for a doorbell may have come during the rendezvous,
// and after every frame: a stream full of others swallows doorbells.
func (l *link) serve(other func(frame) error) {
	w := watchman{since: time.Now()}
	for {
		l.answer()
		f, err := l.conn.read()
		if err != nil {
			l.lastWords()
			l.fail(fmt.Errorf("%w: %s: %w", ErrPeer, l.peer, err))
			break
		}
		switch f.kind {
		case frameDoorbell:
			closeHandles(f.handles)
			if err := w.rung(l); err != nil {
				l.breach(err)
			}
		case frameFailure:
			closeHandles(f.handles)
			l.fail(fmt.Errorf("%w: %s hung up: %q", ErrRefused, l.peer, clip(string(f.body), 512)))
		default:
			if !l.companion { // which trusts its engine
				w.pace()
			}
			if err := other(f); err != nil {
				l.breach(err)
			}
		}
	}
	l.takeDown()
}

// lastWords takes the lead for good and handles what the other side wrote before
// it went.
func (l *link) lastWords() {
	l.ending.Store(true)
	l.mu.Lock()
	if l.err == nil {
		l.shake()
	}
	l.mu.Unlock()
	for !l.takeLead() && !l.depose() {
		select {
		case <-l.vacant:
		case <-time.After(time.Millisecond): // a leader that begins to yield doesn't say so
		}
	}
	l.pumpAll()
}

// pumpAll handles what there is, and keeps the lead.
func (l *link) pumpAll() {
	defer l.rescue(debug.SetPanicOnFault(true), true)
	for {
		before := l.pumped.Load()
		if l.pump(); l.pumped.Load() == before {
			return
		}
	}
}

// takeDown gives everything back that nobody in this process still looks at. The
// caller leads.
func (l *link) takeDown() {
	l.watch.Stop()
	l.shrinkTimer.Stop()
	l.txMu.Lock()
	l.gone = true
	l.txMu.Unlock()
	l.mu.Lock()
	l.leaveLane()
	for _, e := range l.mem.extents {
		l.dropExtent(e)
	}
	for _, s := range l.sessions {
		if s.ended == nil || s.ended.code == closePeer {
			s.dropQueue()
		}
	}
	for _, f := range l.theirs {
		f.forgotten = true
		l.dropForeign(f)
	}
	err := l.err
	l.mu.Unlock()
	l.host.dead(l, err)
}

// dropExtent closes an extent of the own half once no parcel points into it. The
// caller holds mu.
func (l *link) dropExtent(e *extent) {
	if l.err != nil && e.held == 0 && !e.closed {
		e.closed = true
		l.unmap(e.seg)
	}
}

// dropForeign closes an extent of the other half once no message points into it.
func (l *link) dropForeign(f *foreign) {
	if f.forgotten && f.leases == 0 && f.seg != nil {
		l.unmap(f.seg)
		f.seg = nil
		delete(l.theirs, f.number)
		if f.dropped != nil && l.err == nil {
			f.dropped()
		}
	}
}

// notify tells who waits on ch, and the leader that sleeps in the kernel, that
// something changed in this process. The caller holds mu.
func (l *link) notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
	if l.err == nil {
		l.shake()
	}
}

// post publishes r without ever waiting: when the ring is full it goes to the
// backlog. For what the protocol owes the other side.
func (l *link) post(r *record) {
	wake, err := l.transmitOrKeep(r)
	l.act(wake)
	if err != nil {
		go l.breach(err) // the caller may hold mu
	}
}

func (l *link) transmitOrKeep(r *record) (wake uint32, err error) {
	l.txMu.Lock()
	defer l.txDone(debug.SetPanicOnFault(true), &err)
	if l.gone {
		return awake, nil
	}
	wake, err = l.tryPush(r)
	if errors.Is(err, errFull) {
		l.backlog = append(l.backlog, *r)
		if err = nil; len(l.backlog) > maxBacklog {
			err = fmt.Errorf("%d records wait for it to read its ring", len(l.backlog))
		}
	}
	return wake, err
}

const maxBacklog = 1 << 16

var (
	errFull = errors.New("the ring is full")
	errGone = errors.New("the lane is unmapped")
)

// tryPush publishes r or announces that room is wanted. The caller holds txMu.
func (l *link) tryPush(r *record) (wake uint32, err error) {
	if len(l.backlog) > 0 {
		return awake, errFull
	}
	room, err := l.askRoom()
	if err != nil {
		return awake, err
	}
	if room == 0 {
		return awake, errFull
	}
	return l.tx.push(r), nil
}

// askRoom is the number of free slots; with none, the other side will say when
// there are some. Whoever goes to sleep for want of room must have asked last. The
// caller holds txMu.
func (l *link) askRoom() (uint32, error) {
	room, err := l.tx.room()
	if err == nil && room == 0 {
		l.short.Store(true)
		l.tx.wantSpace()
		room, err = l.tx.room()
	}
	return room, err
}

// act wakes the other side as it asked to be woken.
func (l *link) act(wake uint32) {
	switch wake {
	case asleep:
		l.bell.wakePeer()
	case doorbell:
		l.conn.hint(frameDoorbell)
	}
}

// flush pushes the backlog as far as there is room and tells who waits for it.
func (l *link) flush() {
	if !l.short.Swap(false) {
		return
	}
	wake, err := l.drainBacklog()
	l.act(wake)
	if err != nil {
		l.breach(err)
		return
	}
	l.mu.Lock()
	l.notify(l.room)
	l.mu.Unlock()
}

func (l *link) drainBacklog() (wake uint32, err error) {
	l.txMu.Lock()
	defer l.txDone(debug.SetPanicOnFault(true), &err)
	sent := 0
	for sent < len(l.backlog) && err == nil {
		var room, w uint32
		if room, err = l.askRoom(); room == 0 {
			break
		}
		w = l.tx.push(&l.backlog[sent])
		wake = max(wake, w)
		sent++
	}
	l.backlog = append(l.backlog[:0], l.backlog[sent:]...)
	return wake, err
}

// send publishes r, waiting for room in the ring.
func (l *link) send(ctx context.Context, r *record) error {
	for waited := false; ; waited = true {
		wake, err := l.transmit(r)
		l.act(wake)
		switch {
		case errors.Is(err, errGone):
			return l.cause()
		case err == nil && waited:
			l.passRoom()
			return nil
		case err == nil:
			return nil
		case !errors.Is(err, errFull):
			l.breach(err)
			return l.cause()
		}
		if err := l.await(ctx, (*roomWanted)(l), l.room); err != nil {
			l.passRoom()
			return err
		}
	}
}

// transmit is tryPush for who holds nothing.
func (l *link) transmit(r *record) (wake uint32, err error) {
	l.txMu.Lock()
	defer l.txDone(debug.SetPanicOnFault(true), &err)
	if l.gone {
		return awake, errGone
	}
	return l.tryPush(r)
}

// passRoom wakes the next one who waits for room: only one is told when there is
// some, and who finds none asks the other side again.
func (l *link) passRoom() {
	l.mu.Lock()
	l.notifyOne(l.room)
	l.mu.Unlock()
}

func (l *link) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// roomWanted is the condition that a record can be pushed.
type roomWanted link

func (w *roomWanted) ready() bool {
	room, err := (*link)(w).freshRoom()
	return err != nil || room > 0
}

// freshRoom is askRoom for who holds no txMu: for records that need not wait for others.
func (l *link) freshRoom() (room uint32, err error) {
	l.txMu.Lock()
	defer l.txDone(debug.SetPanicOnFault(true), &err)
	if l.gone {
		return 0, errGone
	}
	if room, err = l.askRoom(); len(l.backlog) > 0 {
		room = 0
	}
	return room, err
}
