package portshare

import (
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"strings"

	"berth/session"
)

// The dynamic range of RFC 6335, which nobody registers.
const (
	firstDynamic = 49152
	lastDynamic  = 65535
)

// portRange is where the scan looks, from first to last.
type portRange struct{ first, last int }

// configuredPorts is the range that whoever set up this session wants scanned. It is
// in the environment because companions scan too, and know no configuration file.
func configuredPorts() (portRange, error) {
	text := os.Getenv("BERTH_PORTS")
	if text == "" {
		return portRange{firstDynamic, lastDynamic}, nil
	}
	first, last, _ := strings.Cut(text, "-")
	p, err := portRange{}, error(nil)
	if p.first, err = strconv.Atoi(first); err == nil {
		p.last, err = strconv.Atoi(last)
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return p, fmt.Errorf("BERTH_PORTS=%.40q names no range of ports; write FIRST-LAST, such as 50000-50999: %w", text, err)
	}
	return p, nil
}

func (p portRange) check() error {
	if p.first < 1 || p.last > 65535 || p.first > p.last {
		return fmt.Errorf("port range %d to %d: must lie between 1 and 65535", p.first, p.last)
	}
	return nil
}

// offset lets each session start its scan elsewhere, so that sessions rarely meet.
func (p portRange) offset(s session.Session, app string) int {
	h := fnv.New64a()
	h.Write([]byte(s.Object(app, "port")))
	return int(h.Sum64() % uint64(p.last-p.first+1))
}

// scan claims the first free port of the range, starting at the session's offset.
// It finds out by binding; nothing else is proof.
func (p portRange) scan(s session.Session, app string) (reservation, error) {
	n := p.last - p.first + 1
	start := p.offset(s, app)
	for i := range n {
		r, err := claim(p.first + (start+i)%n)
		if err == nil {
			return r, nil
		}
		if !taken(err) {
			return reservation{}, fmt.Errorf("scan for a port: %w", err)
		}
	}
	return reservation{}, fmt.Errorf("%w between %d and %d on 127.0.0.1; end programs that listen there", ErrNoPort, p.first, p.last)
}
