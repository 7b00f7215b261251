package ipc

import (
	"errors"
	"fmt"
)

const (
	maxSessions = 1024 // open at a time on one lane
	// maxUnclosed is how many sessions a lane may hold with those that were refused
	// and that the other side has not closed yet.
	maxUnclosed = 8 * maxSessions
)

var errUnknownSession = errors.New("a record for a session that was never opened")

// handle handles one record of the other side. r is this process's own copy; an
// error means that the other side broke the protocol. Only the leader calls it, with
// mu held.
func (l *link) handle(r *record) error {
	if r.kind() == kindOpen {
		return l.gotOpen(r)
	}
	if r.kind() == kindRelease {
		return l.gotRelease(r)
	}
	s := l.sessions[r.session()]
	if s == nil {
		return l.gotLate(r)
	}
	if s.parked != nil || r.flags()&flagWhole != 0 && l.early(r) {
		return s.park(r)
	}
	switch r.kind() {
	case kindOpened:
		return s.gotOpened(r)
	case kindMessage:
		return s.gotMessage(r)
	case kindCredit:
		return s.credited(int(r.argument()))
	case kindClose:
		reason, err := r.inline()
		if err != nil || s.ended != nil {
			return fmt.Errorf("close of session %d: %w", s.id, errors.Join(err, errors.New("it was closed already")))
		}
		s.end(closing{r.argument(), string(reason)})
		return nil
	case kindStarved:
		return s.gotStarved(r)
	}
	return fmt.Errorf("a record of kind %d", r.kind())
}

// early says whether r is a message whose segment is yet to come. Only the engine, whom its
// companions trust, sends such.
func (l *link) early(r *record) bool {
	return l.companion && r.kind() == kindMessage && r.flags()&flagInline == 0 && l.theirs[r.location().segment] == nil
}

// park keeps the records of a session, in order, from an early message on.
func (s *Session) park(r *record) error {
	if n := r.location().segment; len(s.parked) == 0 {
		if s.l.expected[n] != nil {
			return fmt.Errorf("segment %d in two sessions", n)
		}
		s.l.expected[n] = s
	}
	s.parked = append(s.parked, *r)
	if most := 2*s.l.window + s.limit + 2; len(s.parked) > most { // messages and notices, credits for its own, the end
		return fmt.Errorf("%d records of session %d behind a segment that does not come", most, s.id)
	}
	return nil
}

// hold takes a segment of the other side's, and goes on with the session that waits for it.
func (l *link) hold(f *foreign) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.theirs[f.number] = f
	s := l.expected[f.number]
	if s == nil || l.err != nil {
		return nil
	}
	delete(l.expected, f.number)
	parked := s.parked
	s.parked = nil
	for i := range parked {
		if err := l.handle(&parked[i]); err != nil {
			return err
		}
	}
	return nil
}

// gotLate handles a record for a session that this side has closed and forgotten.
func (l *link) gotLate(r *record) error {
	own := l.ours(r.session())
	if r.session() == 0 || own && r.session() >= l.nextID || !own && r.session() > l.lastPeer {
		return errUnknownSession
	}
	if r.kind() == kindMessage && r.flags()&(flagInline|flagWhole) == flagWhole {
		return l.lateWhole(r)
	}
	if r.kind() == kindMessage && r.flags()&flagInline == 0 {
		l.postRelease(r.location())
	}
	return nil
}

// lateWhole takes a whole segment that came too late. Its sender has let go of it:
// the engine says nothing, and a companion gives back what was lent to it.
func (l *link) lateWhole(r *record) error {
	m := &Message{flags: flagWhole, loc: r.location()}
	var err error
	if m.data, m.from, err = l.resolve(r); err != nil {
		return err
	}
	l.leased += len(m.data)
	if err = m.takeWhole(l); err == nil && l.companion {
		l.postRelease(m.loc)
	}
	f := m.from
	l.unlease(m)
	l.dropForeign(f)
	return err
}

// resolve finds the memory that r names and takes a lease on it.
func (l *link) resolve(r *record) ([]byte, *foreign, error) {
	loc := r.location()
	f := l.theirs[loc.segment]
	if f == nil || f.forgotten {
		return nil, nil, fmt.Errorf("a location in segment %d, which is none of its own", loc.segment)
	}
	b, err := f.slice(loc, l.unit)
	if err != nil {
		return nil, nil, err
	}
	f.leases++
	return b, f, nil
}

func (l *link) gotOpen(r *record) error {
	id := r.session()
	if l.ours(id) || id <= l.lastPeer {
		return fmt.Errorf("session %d opened after session %d", id, l.lastPeer)
	}
	// A companion trusts its engine, which opens what others want of it.
	if l.guests >= maxUnclosed && !l.companion {
		return fmt.Errorf("%d sessions that were refused or ended and never closed", l.guests)
	}
	l.lastPeer = id
	o, err := l.readOpening(r)
	if err != nil {
		return err
	}
	if r.argument() == 0 {
		return errors.New("a session with window 0")
	}
	var why *closing
	s := l.newSession(id)
	s.limit = int(min(r.argument(), 1<<16))
	s.credit, s.accepted = s.limit, true
	s.peer, s.header = o.from, o.header
	s.trusted = r.flags()&flagTrusted != 0
	if l.guests > maxSessions {
		why = &closing{closeQuota, "too many sessions are open"}
	} else {
		// The service can't send before mu is free: the answer goes first.
		why = l.host.open(s, o)
		if s.joining {
			return nil
		}
		if why == nil {
			l.postOpened(s)
			return nil
		}
	}
	rec := newRecord(kindClose, 0, id, why.code)
	rec.setInline([]byte(clip(why.reason, maxInline)))
	l.post(&rec)
	s.closed, s.header = true, nil // nobody has seen s, and it stays until it is closed over there
	return nil
}

// postOpened accepts s. The caller holds mu.
func (l *link) postOpened(s *Session) {
	r := newRecord(kindOpened, trustFlag(s.trusted), s.id, uint32(l.window))
	l.post(&r)
}

func trustFlag(trusted bool) uint8 {
	if trusted {
		return flagTrusted
	}
	return 0
}

func (l *link) readOpening(r *record) (opening, error) {
	if r.flags()&flagInline != 0 {
		b, err := r.inline()
		if err != nil {
			return opening{}, err
		}
		return decodeOpening(b)
	}
	b, f, err := l.resolve(r)
	if err != nil {
		return opening{}, err
	}
	var o opening
	err = guarded(b, "an opening", func() (err error) {
		o, err = decodeOpening(b)
		return err
	})
	f.leases--
	if err == nil {
		l.postRelease(r.location())
	}
	return o, err
}

func (s *Session) gotOpened(r *record) error {
	if s.accepted || r.argument() == 0 {
		return fmt.Errorf("session %d was opened with window %d, accepted before: %v", s.id, r.argument(), s.accepted)
	}
	s.accepted = true
	s.trusted = r.flags()&flagTrusted != 0
	s.limit = int(min(r.argument(), 1<<16))
	s.credit = s.limit
	s.l.notify(s.sendable)
	return nil
}

func (s *Session) gotMessage(r *record) error {
	l := s.l
	if s.ended != nil { // sent by another goroutine of the peer while one closed
		return l.gotLate(r)
	}
	m := l.newMessage()
	if err := m.fill(l, r); err != nil {
		l.unlease(m)
		return err
	}
	if s.pending++; s.pending > l.window {
		l.unlease(m)
		return fmt.Errorf("%d messages under way in session %d, the window is %d", s.pending, s.id, l.window)
	}
	m.s = s
	switch {
	case s.closed:
		l.release(m)
	case s.out != nil || s.joining:
		s.queue.push(m)
		l.stir(s.out)
	case m.flags&flagReply != 0:
		s.gotReply(m)
	default:
		s.queue.push(m)
		l.notifyOne(s.recv)
	}
	return nil
}

// unlease gives up a message that broke the protocol.
func (l *link) unlease(m *Message) {
	if m.from != nil {
		m.from.leases--
		l.leased -= len(m.data)
		m.from = nil
	}
}

func (m *Message) fill(l *link, r *record) (err error) {
	m.flags, m.correlation = r.flags()&(flagRequest|flagReply|flagEnd|flagWhole), r.argument()
	if r.flags()&flagInline == 0 {
		m.loc = r.location()
		if m.data, m.from, err = l.resolve(r); err != nil {
			return err
		}
		l.leased += len(m.data)
		return m.takeWhole(l)
	}
	m.flags &^= flagWhole
	b, err := r.inline()
	m.data = m.inline[:copy(m.inline[:], b)]
	return err
}

// takeWhole makes a segment that came whole this message's own: it is unmapped with it.
func (m *Message) takeWhole(l *link) error {
	f := m.from
	whole := m.flags&flagWhole != 0
	if l.companion && whole != f.passed {
		return fmt.Errorf("segment %d passed: %v, in a message with whole: %v", f.number, f.passed, whole)
	}
	if !whole {
		return nil
	}
	if m.loc.offset != 0 || f.leases != 1 || !l.companion && (l.whole == 0 || len(m.data) < l.whole) {
		return fmt.Errorf("segment %d can't be passed whole: offset %d, %d bytes, %d leases", f.number, m.loc.offset, len(m.data), f.leases)
	}
	f.forgotten = true
	if m, ok := l.host.(*member); ok && l.theirsAllForgotten() {
		m.e.wg.Go(m.gaveAll)
	}
	return nil
}

// gotReply gives m to the call that waits for it; a call that was given up is nobody's.
func (s *Session) gotReply(m *Message) {
	for _, c := range s.calls {
		if c.correlation == m.correlation && c.correlation != 0 && c.reply == nil {
			c.reply = m
			s.l.notifyOne(c.ch)
			return
		}
	}
	s.l.release(m)
}

// gotStarved queues the notice in order with the messages; one is enough.
func (s *Session) gotStarved(r *record) error {
	if s.closed || s.ended != nil || s.noticed {
		return nil
	}
	m := s.l.newMessage()
	m.s, m.flags, m.loc = s, flagStarved, location{length: r[4]}
	s.noticed = true
	s.queue.push(m)
	s.l.stir(s.out)
	s.l.notifyOne(s.recv)
	return nil
}

func (l *link) gotRelease(r *record) error {
	n, err := r.releases()
	for i := 0; i < n && err == nil; i++ {
		err = l.gotBack(r.released(i))
	}
	l.fed()
	return err
}

// gotBack takes one allocation back that the other side has released.
func (l *link) gotBack(loc location) error {
	session, ok := l.returned(loc)
	if !ok {
		var e *extent
		var err error
		if e, session, err = l.mem.give(loc); err != nil {
			return err
		}
		l.emptied(e)
	}
	if s := l.sessions[session]; s != nil && session != 0 {
		return s.credited(1)
	}
	return nil
}

// credited gives n credits back to this side.
func (s *Session) credited(n int) error {
	if n <= 0 || n > s.limit-s.credit {
		return fmt.Errorf("%d credits for session %d, which has %d of %d", n, s.id, s.credit, s.limit)
	}
	s.credit += n
	s.l.stir(s.wakes)
	s.l.notifyOne(s.sendable)
	return nil
}
