package ipc

import (
	"fmt"
	"time"
)

// enter makes m the holder of name, waiting while there is no room. A name that is
// taken is waited for a moment only: its holder may just be dying.
func (e *Engine) enter(m *member, name string, need int64) error {
	var patience <-chan time.Time
	for {
		o, err := e.admit(m, name, need)
		if o == nil || err != nil {
			return err
		}
		switch {
		case o.holder == nil: // the next one gets as long
			patience = nil
		case patience == nil:
			patience = time.After(nameTimeout)
		}
		if m.ahead == nil { // for the first time
			defer e.wait()()
			if err := m.conn.write(frameWaiting, nil); err != nil {
				return err
			}
			m.readAhead()
		}
		if o.short {
			e.remind()
		}
		if err := m.waitFor(o, patience); err != nil {
			return err
		}
	}
}

// obstacle is why a companion can't enter, or have more, now.
type obstacle struct {
	changed <-chan struct{} // closed when that may be different
	holder  *member         // of its name, or nil
	short   bool            // the budget is spent: others could help
}

// admit is enter without waiting; no obstacle: m is in.
func (e *Engine) admit(m *member, name string, need int64) (*obstacle, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, fmt.Errorf("%w: the engine ends", ErrClosed)
	}
	o := &obstacle{changed: e.changed, holder: e.members[name], short: e.used+need > e.opts.Budget}
	if o.holder != nil || o.short || len(e.members) >= e.opts.Companions {
		return o, nil
	}
	index, ok := e.directory.reserve()
	if !ok {
		return o, nil
	}
	m.name, m.index, m.bytes = name, index, need
	e.members[name], e.used = m, e.used+need
	return nil, nil
}

// waitFor waits until o may be gone, or answers why not.
func (m *member) waitFor(o *obstacle, patience <-chan time.Time) error {
	var again <-chan time.Time
	if o.short { // what is in use now may be idle then, and kept until somebody asks
		again = time.After(askAgain)
	}
	select {
	case <-o.changed:
	case <-again:
	case <-m.lost():
		return fmt.Errorf("%w: it went while it waited", ErrPeer)
	case got := <-m.ahead:
		if got.err != nil {
			return fmt.Errorf("%w: it hung up while it waited: %w", ErrPeer, got.err)
		}
		return fmt.Errorf("%w: control frame %d of one that waits", ErrProtocol, got.kind)
	case <-patience:
		if o.holder != nil {
			return &refusedError{refuseName, fmt.Sprintf("the name %q is taken by process %d", o.holder.name, o.holder.peer.pid)}
		}
	}
	return nil
}

// wait counts one who waits for room, until what it answers is called.
func (e *Engine) wait() (over func()) {
	count := func(n int) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.ledger.waiting += n
	}
	count(1)
	return func() { count(-1) }
}

const nameTimeout = 2 * time.Second

// leave undoes enter.
func (e *Engine) leave(m *member, why error) {
	read := m.outlive()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.present, m)
	e.note(m, why)
	if e.members[m.name] != m {
		return
	}
	delete(e.members, m.name)
	e.watchers.remove(m)
	e.used -= m.bytes - m.unmade - read
	e.directory.free(m.index)
	e.roomMayBeFree()
}

// left is what nobody has of the budget, in bytes.
func (e *Engine) left() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.opts.Budget - e.used
}

// outlive answers how many bytes of a companion that leaves are still mapped, because
// somebody has yet to read what it sent. They stay on the account until that is done.
func (m *member) outlive() (n int64) {
	if m.link == nil {
		return 0
	}
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	for _, f := range m.link.theirs {
		if f.seg == nil || f.dropped == nil { // what was passed on is on the receiver's account
			continue
		}
		size := int64(f.seg.Size())
		f.outlived = func() { go m.e.repay(size) }
		n += size
	}
	return n
}

// repay gives back what has outlived its companion.
func (e *Engine) repay(n int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.used -= n
	e.roomMayBeFree()
}

// charge takes n more bytes of the budget for m, unless there is an obstacle.
func (e *Engine) charge(m *member, n int64) *obstacle {
	e.mu.Lock()
	defer e.mu.Unlock()
	beyond := m.bytes+n > e.opts.Share
	if e.members[m.name] != m || e.used+n > e.opts.Budget || beyond {
		return &obstacle{changed: e.changed, short: !beyond}
	}
	e.book(m, n)
	m.unmade += n
	return nil
}

// book puts n bytes on the account of m, or takes them off it, and shows that. The
// caller holds mu, and has seen that m is a member.
func (e *Engine) book(m *member, n int64) {
	e.used += n
	m.bytes += n
	e.directory.resize(m.index, m.bytes)
}

// chargeSoon is charge; when the budget is spent it asks everybody for what they
// don't use, when only its share is it asks m, and waits a moment for it.
func (e *Engine) chargeSoon(m *member, n int64) bool {
	if n > min(e.opts.Budget, e.opts.Share) {
		return false
	}
	patience := time.NewTimer(trimTime)
	defer patience.Stop()
	for own, all := false, false; ; {
		o := e.charge(m, n)
		switch {
		case o == nil:
			return true
		case o.short && !all:
			all = true
			e.trim()
		case !o.short && !own:
			own = true
			m.trim()
		}
		select {
		case <-o.changed:
		case <-m.link.done:
			return false
		case <-patience.C:
			return e.charge(m, n) == nil
		}
	}
}

// trimTime is how long the others have to give back what they don't use.
const trimTime = 500 * time.Millisecond

// trim makes everybody give back the extents that are empty.
func (e *Engine) trim() {
	e.mu.Lock()
	var all []*member
	for _, m := range e.members {
		if m.registered() {
			all = append(all, m)
		}
	}
	e.mu.Unlock()
	for _, m := range all {
		m.trim()
	}
}

func (m *member) trim() {
	m.link.trim()
	m.conn.hint(frameTrim)
}

// remind is trim for those who wait to enter, who may be many: once in askAgain is enough
// for all of them.
func (e *Engine) remind() {
	e.mu.Lock()
	due := time.Since(e.reminded) >= askAgain
	if due {
		e.reminded = time.Now()
	}
	e.mu.Unlock()
	if due {
		e.trim()
	}
}

// made ends what charge began: the extent is there, or it could not be made. Until
// then its memory is on the account even when the companion has left: committing a
// large one takes a while, and who leaves and comes back must not take it twice.
func (e *Engine) made(m *member, n int64, well bool) {
	e.mu.Lock()
	m.unmade -= n
	left := e.members[m.name] != m
	if left {
		e.used -= n
		e.roomMayBeFree()
	}
	e.mu.Unlock()
	if !left && !well {
		e.refund(m, n)
	}
}

// roomMayBeFree wakes who waits for room. The caller holds mu.
func (e *Engine) roomMayBeFree() {
	if !e.closed {
		close(e.changed)
		e.changed = make(chan struct{})
	}
}

// refund is the opposite of charge, once the extent was made.
func (e *Engine) refund(m *member, n int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.members[m.name] != m {
		return // leave has given back everything
	}
	e.book(m, -n)
	e.roomMayBeFree()
}

// swap gives back an extent of n bytes except for what a smaller one is made from, in
// one go: nobody else can be faster. False when m is gone, and with it everything.
func (e *Engine) swap(m *member, n, smaller int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.members[m.name] != m {
		return false
	}
	e.book(m, smaller-n)
	m.unmade += smaller
	e.roomMayBeFree()
	return true
}
