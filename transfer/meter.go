package transfer

import (
	"math"
	"time"
)

// meter smooths a rate: an exponential moving average whose memory halves every
// two seconds, so that people can read it.
type meter struct {
	rate  float64 // bytes per second, as of last
	bytes int64   // since last
	last  time.Time
}

const (
	meterHalf = 2 * time.Second
	meterStep = 250 * time.Millisecond
)

// add counts n bytes at a time.
func (m *meter) add(n int64, now time.Time) {
	if m.last.IsZero() {
		m.last = now
	}
	m.bytes += n
	if dt := now.Sub(m.last); dt >= meterStep {
		m.rate = m.at(now)
		m.bytes, m.last = 0, now
	}
}

// at answers the rate, in bytes per second: it falls by itself while nothing comes.
func (m *meter) at(now time.Time) float64 {
	dt := now.Sub(m.last)
	if m.last.IsZero() || dt < meterStep {
		return m.rate
	}
	recent := float64(m.bytes) / dt.Seconds()
	if m.rate == 0 {
		return recent
	}
	keep := math.Exp2(-dt.Seconds() / meterHalf.Seconds())
	return m.rate*keep + recent*(1-keep)
}
