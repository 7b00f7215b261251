package ipc

import (
	"fmt"
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

	next atomic.Uint32 // number of the newest segment

	ahead chan arrival // the frame that readAhead reads; nil when it does not

	link  *link
	ready atomic.Bool // it is in the directory

	watchOnce sync.Once
	gone      chan struct{}

	mu       sync.Mutex
	unmapped map[uint32]*shm.Segment // incoming extents that the companion has not mapped yet
	left     bool                    // it is gone
	leaving  map[uint32]int64        // sizes of incoming extents that the companion shall unmap
	swapping uint32                  // the one of those whose place a floor takes
	growing  bool                    // it is getting an outgoing extent
	bereft   bool                    // it gave one back; if what it has left was sent whole, a floor is due
}

// arrival is a frame or the end of the control stream.
type arrival struct {
	frame
	err error
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
