package ipc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/internal/shm"
)

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

// register is the rendezvous of doc.go. It tells the companion why it fails, unless the
// engine ends: to who comes now that is what it is to who comes later, nobody there.
func (m *member) register() error {
	err := m.rendezvous()
	if err == nil || errors.Is(err, ErrClosed) {
		return err
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
