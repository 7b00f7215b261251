package ipc

import (
	"fmt"
	"time"
)

// silence waits until nothing is left of a round on either end of any lane.
func (c *churn) silence() {
	c.mu.Lock()
	clear(c.reports)
	c.mu.Unlock()
	for _, client := range c.clients {
		var rest string
		deadline := time.Now().Add(30 * time.Second)
		for rest = c.rest(client); rest != ""; rest = c.rest(client) {
			if time.Now().After(deadline) {
				c.Fatalf("%s: %s%s", client.name, rest, c.sessions(client))
			}
			time.Sleep(200 * time.Microsecond)
		}
	}
}

// rest says what is left at the ends of a lane.
func (c *churn) rest(client *Client) string {
	m := c.e.member(client.name)
	if m == nil || !m.registered() || m.link.cause() != nil || client.Err() != nil {
		return "not registered"
	}
	if rest := m.link.rest(); rest != "" {
		return "the engine: " + rest
	}
	if rest := client.link.rest(); rest != "" {
		return "the companion: " + rest
	}
	return c.agree(m, client.link)
}

// sessions describes what is left at both ends.
func (c *churn) sessions(client *Client) (all string) {
	m := c.e.member(client.name)
	for _, l := range []*link{m.link, client.link} {
		l.mu.Lock()
		for _, s := range l.sessions {
			all += fmt.Sprintf("\n%d %s/%s companion %v: accepted %v closed %v ended %v queue %d credit %d pending %d taken %d joining %v",
				s.id, s.peer, s.service, l.companion, s.accepted, s.closed, s.ended, s.queue.len(), s.credit, s.pending, s.taken, s.joining)
			if s.out != nil {
				all += fmt.Sprintf(" out %+v wakes %+v", *s.out, *s.wakes)
			}
		}
		l.mu.Unlock()
	}
	return all
}

// rest says what a lane that nobody uses still holds, or nothing.
func (l *link) rest() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	held, leases := 0, 0
	for _, x := range l.mem.extents {
		held += x.held + x.sent
	}
	for _, f := range l.theirs {
		leases += f.leases
		if f.forgotten || f.passed {
			leases++
		}
	}
	relayed := int(l.relayed.Load())
	for what, n := range map[string]int{"sessions": len(l.sessions), "allocations": held, "leases": leases, "bytes leased": l.leased, "passages": len(l.passages),
		"who wait for memory": len(l.starving), "records without room": l.unsaid(), "releases": l.debts.n, "relayed": relayed, "offered": l.offered.len()} {
		if n != 0 {
			return fmt.Sprint(n, " ", what)
		}
	}
	if l.wanting {
		return "a wish for memory"
	}
	return ""
}

// agree says in what the two ends of a lane differ, and the account from them.
func (c *churn) agree(m *member, l *link) string {
	c.e.mu.Lock()
	account := m.bytes
	c.e.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	total := int64(0)
	for _, side := range []struct{ owner, other *link }{{m.link, l}, {l, m.link}} {
		for _, x := range side.owner.mem.extents {
			total += int64(x.seg.Size())
			if side.other.theirs[x.number] == nil {
				return fmt.Sprintf("extent %d has one end", x.number)
			}
		}
		if a, b := len(side.owner.mem.extents), len(side.other.theirs); a != b {
			return fmt.Sprintf("%d extents on one end, %d on the other", a, b)
		}
	}
	if total != account || len(m.unmapped)+len(m.leaving) > 0 || m.growing {
		return fmt.Sprintf("%d bytes of extents, %d on the account, %d not mapped, %d not forgotten, growing: %v", total, account, len(m.unmapped), len(m.leaving), m.growing)
	}
	return ""
}
