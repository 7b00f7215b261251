package ipc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/shm"
)

const (
	helloTimeout = 10 * time.Second
	maxExtent    = 16 << 20 // of an extent that is divided; a larger parcel gets one of its own
)

// member is a companion as the engine sees it: entering, registered, or leaving.
type member struct {
	e     *Engine
	conn  conn
	peer  peer
	since time.Time

	claim string // the name in its hello

	// Set by enter, under the engine's mu.
	name   string
	index  uint32
	bytes  int64 // of the budget
	unmade int64 // of those, for extents that are still being made

	ahead chan arrival // the frame that readAhead reads; nil when it does not

	link  *link
	ready atomic.Bool // it is in the directory

	watchOnce sync.Once
	gone      chan struct{}

	mu       sync.Mutex
	next     uint32
	unmapped map[uint32]*shm.Segment // incoming extents that the companion has not mapped yet
	left     bool                    // it is gone
	leaving  map[uint32]int64        // sizes of incoming extents that the companion shall unmap
	swapping uint32                  // the one of those whose place a floor takes
	growing  bool                    // it is getting an outgoing extent
}

// arrival is a frame or the end of the control stream.
type arrival struct {
	frame
	err error
}

// readAhead reads the next frame while the member waits for room, so that the end
// of the stream ends the waiting.
func (m *member) readAhead() {
	m.ahead = make(chan arrival, 1)
	ahead := m.ahead
	m.e.wg.Go(func() {
		f, err := m.conn.read()
		ahead <- arrival{f, err}
	})
}

// read answers the next frame of the rendezvous.
func (m *member) read() (frame, error) {
	if m.ahead == nil {
		return m.conn.read()
	}
	got := <-m.ahead
	m.ahead = nil
	return got.frame, got.err
}

func (m *member) registered() bool { return m.ready.Load() }

// lost is closed when the companion's process has ended.
func (m *member) lost() <-chan struct{} {
	m.watchOnce.Do(func() {
		m.gone = make(chan struct{})
		if m.peer.wait == nil {
			return
		}
		m.e.wg.Go(func() {
			m.peer.wait()
			close(m.gone)
			_ = m.conn.close() // a child may hold the other end
		})
	})
	return m.gone
}

// drop ends the member from outside its goroutine.
func (m *member) drop(err error) {
	if m.ready.Load() {
		m.link.fail(err)
	}
	_ = m.conn.close()
}

// run takes a companion from its hello to its end.
func (m *member) run() {
	m.lost()
	err := m.register()
	if err == nil {
		m.e.log.Info("a companion registered", "name", m.name, "pid", m.peer.pid)
		m.link.serve(m.frame)
		err = m.link.cause()
	} else if m.link != nil {
		m.link.lastWords()
		m.link.fail(err)
		m.link.takeDown()
	}
	_ = m.conn.close()
	_ = m.peer.release()
	m.abandon()
	m.e.leave(m, err)
	m.e.log.Info("a companion left", "name", m.name, "pid", m.peer.pid, "reason", err) // and nothing of it is left
}

// abandon closes the extents that were never mapped.
func (m *member) abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, seg := range m.unmapped {
		_ = seg.Close()
	}
	m.unmapped, m.left = nil, true
}

// register is the rendezvous of doc.go. It tells the companion why it fails.
func (m *member) register() error {
	err := m.rendezvous()
	if err == nil {
		return nil
	}
	r := refusal{code: refuseBroken, version: Version, text: clip(err.Error(), 512)}
	var refused *refusedError
	if errors.As(err, &refused) {
		r.code, r.text = refused.code, refused.text
	}
	_ = m.conn.write(frameRefused, r.encode())
	return err
}

func (m *member) rendezvous() error {
	h, err := m.hello()
	if err != nil {
		return err
	}
	if err := spareDescriptors(); err != nil {
		return err
	}
	o, left := m.e.opts, m.e.left()
	out, in := startSize(h.outgoing, o.Outgoing, o, left), startSize(h.incoming, o.Incoming, o, left)
	if err := m.e.enter(m, h.name, int64(out+in)); err != nil {
		return err
	}
	segments, err := m.build(out, in)
	if err != nil {
		return err
	}
	if err := m.awaitMapped(); err != nil {
		return err
	}
	for _, s := range segments {
		if err := s.Seal(); err != nil {
			return err
		}
	}
	m.e.directory.publish(m.index, m.name, m.peer.pid, m.bytes)
	m.ready.Store(true)
	generation := m.e.directory.generation(m.index) - 1
	context.AfterFunc(m.link.ctx, func() { m.e.directory.retire(m.index, generation) })
	return m.conn.write(frameRegistered, nil)
}

// hello reads the first frame; who says nothing is hung up on.
func (m *member) hello() (hello, error) {
	t := time.AfterFunc(m.e.opts.patience, func() { _ = m.conn.close() })
	defer t.Stop()
	f, err := m.conn.read()
	if err != nil {
		return hello{}, fmt.Errorf("%w: before its hello: %w", ErrPeer, err)
	}
	if f.kind != frameHello {
		return hello{}, fmt.Errorf("%w: frame %d before hello", ErrProtocol, f.kind)
	}
	h, err := decodeHello(f.body)
	if err != nil {
		return hello{}, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if h.version != Version {
		return hello{}, &refusedError{refuseVersion, fmt.Sprintf("the companion speaks version %d, the engine version %d", h.version, Version)}
	}
	m.claim = h.name
	if h.name == Controller {
		return hello{}, &refusedError{refuseName, "the name controller is the engine's own"}
	}
	return h, nil
}

// startShare is the part of the memory that is left which one registration may
// take for each half: the first companions get what they wish, and the thousandth
// still gets something. All can have more later.
const startShare = 256

// startSize is a wished size within reason, in whole units of the largest page size in use.
func startSize(wish uint64, def int, o Options, left int64) int {
	const grain = 64 << 10
	size := def
	if wish > 0 {
		size = int(min(wish, maxExtent))
	}
	size = int(min(int64(size), o.Budget/4, left/startShare))
	return max(grain, size/grain*grain)
}

// build makes lane and extents and passes them over.
func (m *member) build(out, in int) ([]*shm.Segment, error) {
	lane, err := shm.NewSegment(laneSize(defaultSlots))
	if err != nil {
		return nil, err
	}
	formatLane(lane.Bytes(), defaultSlots)
	own, events, err := laneEvents()
	if err != nil {
		_ = lane.Close()
		return nil, err
	}
	o := m.e.opts
	m.link, err = newLink(linkConfig{
		noSpin: o.NoSpin,
		peer:   m.name, pid: m.peer.pid, slots: defaultSlots, unit: o.Unit, window: o.Window,
		largest: o.Largest, whole: wholeFrom(), lane: lane, events: own, conn: m.conn, host: m,
	})
	if err != nil {
		_ = lane.Close()
		return nil, err
	}
	w := welcome{
		version: Version, index: m.index, generation: m.e.directory.generation(m.index), slots: defaultSlots,
		unit: uint32(o.Unit), window: uint32(o.Window), directory: uint64(m.e.directory.seg.Size()),
		lane: uint64(lane.Size()), largest: uint64(o.Largest), whole: uint64(wholeFrom()),
	}
	grants := append([]grant{shareRead(m.e.directory.seg), share(lane)}, events...)
	if err := m.conn.write(frameWelcome, w.encode(), grants...); err != nil {
		return nil, err
	}
	outSeg, err := m.extent(outgoing, out)
	if err != nil {
		return nil, err
	}
	inSeg, err := m.extent(incoming, in)
	return []*shm.Segment{lane, outSeg, inSeg}, err
}

// extent makes an extent of one half and passes it over. An incoming one waits in
// unmapped until the companion can read it.
func (m *member) extent(half uint32, size int) (*shm.Segment, error) {
	seg, err := shm.NewSegment(size)
	if err != nil {
		return nil, err
	}
	number, ok := m.enlist(half, seg)
	if !ok {
		_ = seg.Close()
		return nil, fmt.Errorf("%w: %s", ErrPeer, m.name)
	}
	g := share(seg)
	if half == incoming {
		g = shareRead(seg)
	}
	return seg, m.link.tell(frameExtent, extentFrame{number, half, uint64(seg.Size())}.encode(), g)
}

// enlist numbers a segment and says who looks after it from now on; false when the
// companion is gone and nobody would.
func (m *member) enlist(half uint32, seg *shm.Segment) (uint32, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	if half == incoming {
		if !m.left {
			m.unmapped[m.next] = seg
		}
		return m.next, !m.left
	}
	m.growing = false // it may ask again as soon as it has read the frame
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	if m.link.err != nil {
		return 0, false
	}
	size := int64(seg.Size())
	m.link.theirs[m.next] = &foreign{number: m.next, seg: seg, dropped: func() { go m.e.refund(m, size) }}
	return m.next, true
}

// awaitMapped waits until the companion has mapped lane and directory (0) and the
// first extents (1 and 2), each once.
func (m *member) awaitMapped() error {
	t := time.AfterFunc(m.e.opts.patience, func() { _ = m.conn.close() })
	defer t.Stop()
	for missing := []uint32{0, 1, 2}; len(missing) > 0; {
		f, err := m.read()
		if err != nil {
			return fmt.Errorf("%w: during registration: %w", ErrPeer, err)
		}
		if f.kind != frameMapped {
			return fmt.Errorf("%w: frame %d during registration", ErrProtocol, f.kind)
		}
		number, err := decodeUint32(f.body)
		i := slices.Index(missing, number)
		if err != nil || i < 0 {
			return fmt.Errorf("%w: mapped segment %d during registration", ErrProtocol, number)
		}
		missing = slices.Delete(missing, i, i+1)
		if err := m.frame(f); err != nil {
			return err
		}
	}
	return nil
}

// frame handles a control frame that isn't the link's own business.
func (m *member) frame(f frame) error {
	switch f.kind {
	case frameMapped:
		return m.mapped(f.body)
	case frameWant:
		return m.want(f.body)
	case frameForget:
		return m.forget(f.body)
	case frameWatch:
		return m.e.watch(m, f.body)
	}
	return fmt.Errorf("control frame %d", f.kind)
}

// mapped lets the engine allocate from an incoming extent. Outgoing ones are
// sealed here when they came after registration.
func (m *member) mapped(body []byte) error {
	number, err := decodeUint32(body)
	if err != nil || number == 0 {
		return err
	}
	m.mu.Lock()
	seg := m.unmapped[number]
	delete(m.unmapped, number)
	last := m.next
	m.mu.Unlock()
	if seg != nil {
		if m.ready.Load() {
			err = seg.Seal()
		}
		m.link.grown(number, seg)
		return err
	}
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	if m.link.arrived(number) {
		return nil
	}
	f := m.link.theirs[number]
	switch {
	case f == nil && number > last:
		return fmt.Errorf("mapped segment %d, which was never passed", number)
	case f == nil || f.forgotten: // the ring was faster than the stream: it has been sent on or given back
		return nil
	case m.ready.Load():
		return f.seg.Seal()
	}
	return nil
}

// want gives the companion another outgoing extent, in the background: committing
// a large one takes a while.
func (m *member) want(body []byte) error {
	n, err := decodeUint64(body)
	if err != nil {
		return err
	}
	if n == 0 || n > uint64(m.e.opts.Largest) {
		return fmt.Errorf("it wants a parcel of %d bytes, the largest is %d", n, m.e.opts.Largest)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.growing {
		return errors.New("it wants more before its last wish was answered")
	}
	m.growing = true
	m.e.wg.Go(func() {
		err := m.enlarge(outgoing, int(n))
		m.answered()
		if err != nil {
			m.e.log.Warn("no memory for a companion", "name", m.name, "bytes", n, "reason", err)
			_ = m.link.tell(frameDenied, body)
		}
	})
	return nil
}

func (m *member) answered() {
	m.mu.Lock()
	m.growing = false
	m.mu.Unlock()
}

// enlarge adds an extent that can hold n bytes in a row.
func (m *member) enlarge(half uint32, n int) error {
	err := m.fit(half, n)
	if err != nil && m.link.cause() == nil {
		m.e.noteDenial(m, n, err)
	}
	return err
}

func (m *member) fit(half uint32, n int) error {
	size := extentFor(n, m.e.opts.Unit)
	if most := m.e.opts.extents; m.link.extents() >= most {
		return fmt.Errorf("%w: it has %d extents already, release some of what they hold", ErrNoMemory, most)
	}
	if !m.e.chargeSoon(m, int64(size)) {
		return fmt.Errorf("%w: its share of %d bytes or the budget of %d is spent", ErrNoMemory, m.e.opts.Share, m.e.opts.Budget)
	}
	_, err := m.extent(half, size)
	m.e.made(m, int64(size), err == nil)
	return err
}

// extentFor is the size of an extent made for a parcel of n bytes: four of them,
// or one alone when it is large.
func extentFor(n, unit int) int {
	const grain = 64 << 10
	size := (n + unit - 1) / unit * unit
	if size < maxExtent/4 {
		size = max(4*size, 1<<20)
	}
	return (size + grain - 1) / grain * grain
}

// forget: the companion has unmapped an extent.
func (m *member) forget(body []byte) error {
	number, err := decodeUint32(body)
	if err != nil {
		return err
	}
	if m.parted(number) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.link
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.theirs[number]
	if f == nil || f.forgotten {
		return fmt.Errorf("forgets segment %d, which is none of its own", number)
	}
	f.forgotten = true
	if size := int64(f.seg.Size()); size > floorSize && !m.growing && l.theirsAllForgotten() {
		m.growing = true
		f.dropped = func() { m.e.wg.Go(func() { m.exchange(outgoing, size) }) }
	}
	l.dropForeign(f)
	return nil
}

// parted ends an extent of the incoming half, if it was to be forgotten.
func (m *member) parted(number uint32) bool {
	m.mu.Lock()
	size, ok := m.leaving[number]
	delete(m.leaving, number)
	last := ok && number == m.swapping
	m.mu.Unlock()
	switch {
	case last:
		m.e.wg.Go(func() { m.exchange(incoming, size) })
	case ok:
		m.e.refund(m, size)
	}
	return ok
}

// theirsAllForgotten: the other half has nothing left. The caller holds mu.
func (l *link) theirsAllForgotten() bool {
	for _, f := range l.theirs {
		if !f.forgotten {
			return false
		}
	}
	return true
}

// open serves or refuses a session that the companion opens. The caller holds the link's mu.
func (m *member) open(s *Session, o opening) *closing {
	name, service, err := splitAddress(o.address)
	if err != nil {
		return &closing{closeAddress, "not an address"}
	}
	s.peer, s.service = m.name, service
	s.trusted = s.trusted && name != Controller
	if name != Controller {
		s.joining = true
		m.e.wg.Go(func() { m.connect(s, o, name) })
		return nil
	}
	m.e.mu.Lock()
	h := m.e.handlers[service]
	m.e.mu.Unlock()
	if h == nil {
		return &closing{closeAddress, "the controller has no such service"}
	}
	m.e.wg.Go(func() { run(h, s) })
	return nil
}

// grow adds to the incoming half.
func (m *member) grow(l *link, n int) {
	m.e.wg.Go(func() {
		if err := m.enlarge(incoming, n); err != nil {
			m.e.log.Warn("no memory for what the controller sends", "name", m.name, "bytes", n, "reason", err)
			l.denied()
		}
	})
}
