package portshare

import "errors"

// update takes the gate, brings the record in order, and applies change to it. A nil
// change only brings it in order.
func (r *Record) update(change func(Info) (Info, error)) (Info, error) {
	unlock, err := r.place.gate()
	if err != nil {
		return Info{}, err
	}
	defer unlock()
	r.mem.RLock()
	defer r.mem.RUnlock()
	if r.unmapped {
		return Info{}, ErrClosed
	}
	if err := r.place.check(); err != nil {
		return Info{}, err
	}
	return r.change(change)
}

// change is update for callers that have the gate. What brings the record in order
// is written even when change then fails.
func (r *Record) change(change func(Info) (Info, error)) (Info, error) {
	now, err := r.current()
	if err != nil && !errors.Is(err, errCorrupt) {
		return Info{}, err
	}
	damaged := err != nil
	next, err := r.settle(now)
	if err == nil && change != nil {
		var wanted Info
		if wanted, err = change(next); err == nil {
			next = wanted
		}
	}
	if next != now || damaged {
		err = errors.Join(err, r.write(next))
	}
	return next, err
}

// current reads the record under the gate. With errCorrupt it also answers what can
// be saved.
//
// A write that is under way now has no living writer: all of them take the gate.
// Whoever died in the middle left some words old and some new. Each word alone is
// sound, and the holder is the writer that died or was dead already, so the port and
// the generation are kept and the rest is dropped.
func (r *Record) current() (Info, error) {
	bytes, _, whole := r.cell.load()
	if !whole {
		bytes = r.cell.copy()
	}
	info, err := parse(&bytes)
	switch {
	case errors.Is(err, ErrVersion):
		return Info{}, err
	case err == nil && whole:
		return info, nil
	}
	saved := fields(&bytes)
	if saved.Port < 1 || saved.Port > 65535 {
		return Info{Generation: saved.Generation}, errCorrupt
	}
	return saved.released(), errCorrupt
}

// settle brings a record in order: a dead holder is released, and a record without
// a port, or with one that somebody else took, gets one.
func (r *Record) settle(info Info) (Info, error) {
	if r.dead(info) {
		info = info.released()
	}
	if info.State == Empty {
		return r.rescan(info)
	}
	err := r.hold(info.Port)
	if info.State == Reserved && taken(err) {
		return r.rescan(info)
	}
	// While a controller listens the port is not lost; without a reservation of
	// our own (no descriptor left, another network namespace) we only know it.
	return info, nil
}

// hold makes this process one of those that keep port reserved.
func (r *Record) hold(port int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held.port == port {
		return nil
	}
	r.held.close()
	held, err := join(port)
	if err == nil {
		r.held = held
	}
	return err
}

// rescan finds a new port for a record that has lost its own or never had one.
func (r *Record) rescan(info Info) (Info, error) {
	found, err := r.ports.scan(r.session, r.app)
	if err != nil {
		return info, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held.close()
	r.held = found
	next := info.released()
	next.Port = found.port
	if info.Port != 0 {
		next.Generation++
	}
	return next, nil
}

// write stores info and wakes everybody. The caller has the gate.
//
// A writer that is killed between the two leaves sleepers behind. What they miss is
// a record whose holder, this process, is dead; whoever looks next releases it and
// rings, and Wait looks now and then without being woken.
func (r *Record) write(info Info) error {
	bytes, err := encode(info)
	if err != nil {
		return err
	}
	r.bell.ring(r.cell.store(bytes) - 2)
	return nil
}
