package portshare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"berth/internal/shm"
	"berth/session"
)

// Peek reads the record of app without taking part: it neither resets, repairs nor
// scans, and the record does not live longer for it. It fails with [ErrNoRecord]
// when nobody takes part. When the holder has died and no participant has published
// that yet, Peek returns what they are about to publish, with [ErrStale].
func Peek(s session.Session, app string) (Info, error) {
	info, err := peek(s, app)
	if err != nil {
		return info, fmt.Errorf("%s: %w", s, err)
	}
	return info, nil
}

func peek(s session.Session, app string) (Info, error) {
	if nowhere(s) {
		return Info{}, ErrNoRecord
	}
	gate, err := lockGate(s, app)
	if err != nil {
		return Info{}, err
	}
	defer opener(gate)()
	nobody, err := abandoned(s, app)
	if err != nil {
		return Info{}, err
	}
	var bytes raw
	n, err := shm.ReadNamed(s, app+".record", bytes[:])
	switch {
	case nobody || errors.Is(err, fs.ErrNotExist):
		return Info{}, ErrNoRecord
	case err != nil:
		return Info{}, err
	case n < recordSize:
		return Info{}, fmt.Errorf("%w: %d bytes, this program needs %d", ErrVersion, n, recordSize)
	}
	return judge(&bytes, func() bool { return gripped(s, app) })
}

// judge is what an observer makes of a record it has copied under the gate. It asks
// for the grip of a holder that it cannot see.
func judge(bytes *raw, gripped func() bool) (Info, error) {
	info, err := parse(bytes)
	switch {
	case errors.Is(err, ErrVersion):
		return Info{}, err
	case err != nil || binary.NativeEndian.Uint32(bytes[offSequence:])%2 != 0:
		return Info{}, fmt.Errorf("%w: its writer died; the next participant repairs it", ErrNotReady)
	case info.State == Empty:
		return Info{}, fmt.Errorf("%w: no port has been found", ErrNotReady)
	}
	me, err := self()
	if err != nil || !info.held() {
		return info, err
	}
	p := info.holder()
	if p.visible(me) && !p.alive() || !p.visible(me) && !gripped() {
		return info.released(), fmt.Errorf("%w: its holder, pid %d, has died", ErrStale, info.PID)
	}
	return info, err
}
