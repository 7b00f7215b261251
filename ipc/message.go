package ipc

// Message is what the other side sent. Its bytes are the sender's memory itself:
// who sent them may still change them, so what is checked must be copied first.
// It must be released once, by one goroutine, and not be touched after that: it is used
// again, by any goroutine, but under the race detector. One that never is released keeps
// its memory mapped and on the account, even when its sender has gone.
type Message struct {
	s           *Session
	data        []byte
	from        *foreign // nil: the bytes came inside the record
	loc         location
	next        []byte // payload of the one that came after it
	flags       uint8
	correlation uint32
	inline      [maxInline]byte
}

// Bytes is the payload, valid until Release. It is shared memory, committed and of
// sealed size, so that it can't vanish. If it does all the same, touching it is a
// fault: in a Handler and under Session.Guard that costs the link, in any other
// goroutine the program. CopyTo and Reader.Read are safe everywhere.
func (m *Message) Bytes() []byte { return m.data }

// CopyTo copies the payload into b and answers how many bytes that were. It is the
// fast way to take large payloads out of shared memory (where Tune was called it gives
// way to others now and then), and the safe way to look at any: a copy can't be changed
// by its sender any more. It answers 0 when the memory has vanished; the link has ended
// then, with ErrFault.
func (m *Message) CopyTo(b []byte) int {
	n, _ := carry(nil, b, m.shared(), m.data, len(b))
	fetchPart(m.next, 1)
	return n
}

// clone is the payload in memory of its own.
func (m *Message) clone() ([]byte, error) {
	b := make([]byte, len(m.data))
	_, err := carry(nil, b, m.shared(), m.data, 0)
	return b, err
}

// shared is the link whose memory the message lies in; nil when it lies in no such.
func (m *Message) shared() *link {
	if m.from == nil {
		return nil
	}
	return m.s.l
}

// End says whether the message ends a stream.
func (m *Message) End() bool { return m.flags&flagEnd != 0 }

// Request says whether the sender waits for a Reply.
func (m *Message) Request() bool { return m.flags&flagRequest != 0 }

// Release gives the memory back to its owner, and the sender one more message to send.
// Not twice: the message may be another goroutine's by then, which would lose it. Under
// the race detector that is a panic.
func (m *Message) Release() {
	if m.s == nil {
		tooLate("a message was released twice")
		return
	}
	fetchPart(m.next, 2)
	l := m.s.l
	l.mu.Lock()
	l.release(m)
	l.mu.Unlock()
}

// release is Release for who holds mu.
func (l *link) release(m *Message) {
	s := m.s
	if m.from != nil {
		m.from.leases--
		l.leased -= len(m.data)
		s.pending--
		switch {
		case l.err != nil:
		case m.flags&flagWhole != 0 && !l.companion:
			r := newRecord(kindCredit, 0, s.id, 1)
			l.post(&r)
		default:
			l.owe(m.loc)
		}
		l.dropForeign(m.from)
	} else if s.taken++; s.taken >= (l.window+1)/2 || s.pending >= l.window && s.queue.len() == 0 { // somebody may wait for more
		s.creditTaken()
	}
	m.s, m.data, m.from, m.next = nil, nil, nil, nil
	l.reuse(m)
}

// creditTaken gives the peer the credits of inline messages back that have waited for
// company. The caller holds mu.
func (s *Session) creditTaken() {
	if s.taken > 0 && s.l.err == nil {
		r := newRecord(kindCredit, 0, s.id, uint32(s.taken))
		s.l.post(&r)
	}
	s.pending -= s.taken
	s.taken = 0
}

func (l *link) postRelease(loc location) {
	r := newRecord(kindRelease, 0, 0, 0)
	r.addRelease(loc)
	l.post(&r)
}

// reuse keeps m for what comes next. The caller holds mu.
func (l *link) reuse(m *Message) {
	if !underRace {
		l.messages = append(l.messages, m)
	}
}

func (l *link) newMessage() *Message {
	if n := len(l.messages); n > 0 {
		m := l.messages[n-1]
		l.messages = l.messages[:n-1]
		return m
	}
	return &Message{}
}
