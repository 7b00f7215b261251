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
	"unicode/utf8"

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
	naps    atomic.Uint32 // begun and ended so far: odd while the leader sleeps (nap.go)
	rousing atomic.Uint32 // 1 while rouser runs
	rouser  *time.Timer
	roused  atomic.Uint32 // the nap that it has ended
	pumped  atomic.Uint64 // records so far
	vacant  chan struct{} // the leader of an ending link left

	// Of the leader.
	rx     consumer
	record record // the copy that is being handled
	heat   int    // the leader spins while there is some
	misses int    // spins in vain, less those that were not
	cold   int    // short waits until there may be heat again
	near   nearness
	self   int32  // 1 when the leader is one of waiters
	seen   uint64 // pumped, at the last look of the timer

	napped uint32 // of rouser: naps at its last look

	txMu    sync.Mutex
	tx      producer
	backlog []record    // what had no room: pushed before anything else
	gone    bool        // the lane is unmapped
	short   atomic.Bool // somebody waits for room, or backlog isn't empty

	mu          sync.Mutex
	err         error // why the link is dead
	done        chan struct{}
	sessions    map[uint32]*Session
	guests      int // of sessions: opened by the other side
	nextID      uint32
	lastPeer    uint32 // the newest number the other side has opened
	mem         memory
	theirs      map[uint32]*foreign
	passages    map[uint32]passage  // in the engine: whole segments passed to this companion
	full        []*flow             // in the engine: those that wait until this companion releases one
	expected    map[uint32]*Session // in a companion: those that a message came before, and whose message that is
	wanting     bool                // an extent was asked for
	wanted      int                 // for a parcel of so many bytes
	shrinking   bool                // shrinkTimer runs
	pressed     bool                // memory was short; the first extent goes when it lies idle (shrink.go)
	floored     bool                // that has happened
	shrinkTimer *time.Timer
	starving    []*allocation
	askTimer    *time.Timer // asks again for them
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

	leadRelays func() // leads for as long as relays are busy; made once, so that a doorbell allocates nothing
}

func newLink(c linkConfig) (*link, error) {
	up, down := laneRings(c.lane.Bytes(), c.slots)
	l := &link{
		linkConfig: c, done: make(chan struct{}), vacant: make(chan struct{}, 1), room: make(chan struct{}, 1), offer: make(chan struct{}, 1),
		sessions: map[uint32]*Session{}, theirs: map[uint32]*foreign{}, passages: map[uint32]passage{}, expected: map[uint32]*Session{}, mem: memory{unit: c.unit},
	}
	rx, tx := up, down
	l.nextID = 2
	if c.companion {
		rx, tx, l.nextID = down, up, 1
	}
	l.rx, l.tx = consumer{ring: rx}, producer{ring: tx}
	l.noSpin = l.noSpin || runtime.NumCPU() == 1 // only who is not looked at can answer
	var err error
	if l.bell, err = newBell(rx.wake, tx.wake, c.events, !c.companion); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.watch = time.AfterFunc(time.Hour, l.look)
	l.watch.Stop()
	l.rouser = time.AfterFunc(time.Hour, l.rouse)
	l.rouser.Stop()
	l.shrinkTimer = time.AfterFunc(time.Hour, l.shrink)
	l.shrinkTimer.Stop()
	l.askTimer = time.AfterFunc(time.Hour, l.ask)
	l.askTimer.Stop()
	l.leadRelays = func() { _, _ = l.lead(context.Background(), (*relaying)(l)) }
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
		s.cut = s.ended == nil
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
	if err != nil {
		l.unheard(err)
	}
	return err
}

// unheard ends the link because of a frame that could not be written.
func (l *link) unheard(err error) {
	if errors.Is(err, errDeaf) {
		l.breach(err)
		return
	}
	l.fail(fmt.Errorf("%w: %s: %w", ErrPeer, l.peer, err))
}

// clip cuts s to n bytes or, where that would cut a character apart, a few less.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for at := n; at >= 0 && at > n-utf8.UTFMax; at-- {
		if utf8.RuneStart(s[at]) {
			return s[:at]
		}
	}
	return s[:n]
}

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

func (l *link) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
