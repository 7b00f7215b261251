//go:build !race

package ipc

import (
	"testing"
	"time"
)

// slowAccount has the sender's lane busy for a while when a segment goes out.
type slowAccount struct {
	conn
	sender *link
}

func (c *slowAccount) write(kind uint8, body []byte, grants ...grant) error {
	err := c.conn.write(kind, body, grants...)
	if e, bad := decodeExtent(body); kind == frameExtent && bad == nil && e.half == passed {
		c.sender.mu.Lock()
		time.AfterFunc(50*time.Millisecond, c.sender.mu.Unlock)
	}
	return err
}

// TestASegmentIsBookedBeforeItIsReleased: a receiver may be faster than the sender's lane
// is free, and nobody has less than nothing meanwhile.
func TestASegmentIsBookedBeforeItIsReleased(t *testing.T) {
	needsWhole(t)
	e := testEngine(t, Options{})
	a, b := testClient(t, e, "a", Sizes(64<<10, 64<<10)), testClient(t, e, "b", Sizes(64<<10, 64<<10))
	b.HandleTrusted("x", echoNothing)
	ctx := testContext(t)
	s, err := a.OpenTrusted(ctx, "b/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	l := e.member("b").link
	l.mu.Lock()
	l.conn = &slowAccount{l.conn, e.member("a").link}
	l.mu.Unlock()
	if err := sendSegment(ctx, s); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := s.Recv(ctx)
		answered <- err
	}()
	for {
		for _, c := range b.Companions() {
			if c.BlockBytes < 0 {
				t.Fatalf("the directory shows a block of %d bytes for %s", c.BlockBytes, c.Name)
			}
		}
		select {
		case err := <-answered:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
			time.Sleep(100 * time.Microsecond)
		}
	}
}
