package ipc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Churn: companions open sessions to each other, to themselves and to the controller, use
// them in every way and end them at any moment; some of them die. Then everybody falls
// silent. No traffic comes that could make up for a wake-up or a message that was lost:
// every call must have ended, every message have arrived, and both ends of every lane
// must have got back what they gave.

const churners = 4

// churn is an engine with a few restless companions.
type churn struct {
	*testing.T
	e    *Engine
	life [churners + 1]atomic.Int64 // of the companions; odd while one is dead

	mu      sync.Mutex
	clients [churners]*Client
	reports map[string]chan error // what a sink has to say, by the header of its session
}

// TestChurnEndsInSilence runs for a few seconds, or BERTH_TORTURE=1 for 100.
// BERTH_CHURN_SEED repeats a run as far as the scheduler lets it.
func TestChurnEndsInSilence(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("BERTH_CHURN_SEED"), 10, 64); err == nil {
		seed = s
	}
	debug.SetTraceback("all")
	before := resources(t)
	c := &churn{T: t, e: testEngine(t, Options{Budget: 1 << 30, Window: 8}), reports: map[string]chan error{}}
	for service, h := range c.services() {
		c.e.Handle(service, h)
	}
	for i := range churners {
		c.dial(i)
	}
	end := time.Now().Add(time.Duration(tortures(3, 100)) * time.Second)
	rounds, acts := 0, 0
	for ; time.Now().Before(end) && !t.Failed(); rounds++ {
		dog := time.AfterFunc(time.Minute, func() { panic(fmt.Sprintf("seed %d: round %d does not end", seed, rounds)) })
		acts += c.round(rand.New(rand.NewPCG(seed, uint64(rounds))))
		dog.Stop()
		c.silence()
	}
	t.Logf("seed %d: %d rounds, %d sessions", seed, rounds, acts)
	for _, client := range c.clients {
		_ = client.Close()
	}
	waitFor(t, func() bool { return len(c.e.Stats().Companions) == 0 && c.e.Stats().Used == 0 })
	if now := resources(t); now.maps > before.maps+1 { // the engine's directory is left
		t.Errorf("%+v before, %+v after", before, now)
	}
}

// dial makes companion i, anew if it has died.
func (c *churn) dial(i int) {
	client, err := Dial(testContext(c), c.e.Endpoint(), c.name(i), Sizes(1<<20, 256<<10))
	if err != nil {
		c.Error(err)
		return
	}
	for service, h := range c.services() {
		client.Handle(service, h)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients[i] = client
}

func (c *churn) client(i int) *Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clients[i]
}

func (c *churn) name(i int) string {
	if i == churners {
		return Controller
	}
	return fmt.Sprint("c", i)
}

// round has sessions come and go side by side, and ends when all have.
func (c *churn) round(rnd *rand.Rand) (acts int) {
	var wg sync.WaitGroup
	for range 1 + rnd.IntN(10) {
		seed, n := rnd.Uint64(), 1+rnd.IntN(3)
		acts += n
		wg.Go(func() {
			own := rand.New(rand.NewPCG(seed, 1))
			for range n {
				c.act(own)
			}
		})
	}
	if rnd.IntN(3) == 0 {
		victim, how, pause := rnd.IntN(churners), rnd.IntN(3), time.Duration(rnd.IntN(3000))*time.Microsecond
		wg.Go(func() {
			time.Sleep(pause)
			c.kill(victim, how)
		})
	}
	if rnd.IntN(4) == 0 {
		wg.Go(c.e.trim)
	}
	wg.Wait()
	return acts
}

// kill ends a companion, and has another take its place.
func (c *churn) kill(i, how int) {
	client := c.client(i)
	c.life[i].Add(1)
	switch how {
	case 0:
		_ = client.link.conn.close() // without a word
	case 1:
		m := c.e.member(client.name)
		if m != nil {
			m.drop(fmt.Errorf("%w: by the test", ErrClosed))
		}
	}
	_ = client.Close()
	c.dial(i)
	c.life[i].Add(1)
}

// act opens one session and uses it in one of the ways there are.
func (c *churn) act(rnd *rand.Rand) {
	from, to := rnd.IntN(churners), rnd.IntN(churners+1)
	before, others := c.life[from].Load(), c.life[to].Load()
	what := []func(*rand.Rand, *Client, string) error{c.calls, c.callsCutShort, c.once, c.refused, c.sink, c.push, c.mute, c.canceled, c.hurried}[rnd.IntN(9)]
	err := what(rnd, c.client(from), c.name(to))
	died := (before|others)&1 != 0 || c.life[from].Load() != before || c.life[to].Load() != others
	if err == nil || died && (errors.Is(err, ErrPeer) || errors.Is(err, ErrClosed) ||
		errors.Is(err, ErrAddress) || errors.Is(err, ErrRefused) || errors.Is(err, io.EOF)) {
		return
	}
	c.Errorf("from %s to %s: %v", c.name(from), c.name(to), err)
}

// A payload says its number at its beginning, middle and end.
func (c *churn) parcel(ctx context.Context, s *Session, rnd *rand.Rand, number int) (*Parcel, error) {
	sizes := []int{maxInline - 6, 9000, 9000, 300_000, 6 + rnd.IntN(100), 6 + rnd.IntN(100), 6 + rnd.IntN(2000)}
	n := 6 + rnd.IntN(sizes[rnd.IntN(len(sizes))])
	if rnd.IntN(25) == 0 {
		n = wholeSize + rnd.IntN(1<<20)
	}
	p, err := s.Alloc(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("memory for number %d: %w", number, err)
	}
	for _, at := range []int{0, n/2 - 1, n - 2} {
		binary.LittleEndian.PutUint16(p.Bytes()[at:], uint16(number))
	}
	return p, nil
}

// ofNumber checks a payload and releases it.
func ofNumber(m *Message, number int) error {
	defer m.Release()
	b := m.Bytes()
	for _, at := range []int{0, len(b)/2 - 1, len(b) - 2} {
		if got := binary.LittleEndian.Uint16(b[at:]); got != uint16(number) {
			return fmt.Errorf("number %d came as %d at %d of %d bytes", number, got, at, len(b))
		}
	}
	return nil
}

// services are what every one of them offers.
func (c *churn) services() map[string]Handler {
	return map[string]Handler{
		"echo": func(ctx context.Context, s *Session) {
			for c.answer(ctx, s) {
			}
		},
		"once": func(ctx context.Context, s *Session) { c.answer(ctx, s) },
		"no": func(ctx context.Context, s *Session) {
			if m, err := s.Recv(ctx); err == nil {
				m.Release()
				_ = s.Fail("no")
			}
		},
		"sink": func(ctx context.Context, s *Session) {
			c.mu.Lock()
			report := c.reports[string(s.Header())]
			c.mu.Unlock()
			if report == nil { // it begins after its opener has died and the round has ended
				return
			}
			report <- c.swallow(ctx, s)
		},
		"push": func(ctx context.Context, s *Session) {
			rnd := rand.New(rand.NewPCG(uint64(s.id), 3))
			for i := range int(s.Header()[0]) {
				p, err := c.parcel(ctx, s, rnd, i)
				if err != nil || s.Send(ctx, p) != nil {
					return
				}
			}
		},
		"mute": func(ctx context.Context, s *Session) {
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(s.Header()[0]) * 20 * time.Microsecond):
			}
		},
	}
}

// answer replies to one request; false when there is none any more.
func (c *churn) answer(ctx context.Context, s *Session) bool {
	m, err := s.Recv(ctx)
	if errors.Is(err, ErrStarved) { // the other side gave up waiting for memory
		return true
	}
	if err != nil {
		return false
	}
	defer m.Release()
	p, err := s.Alloc(ctx, len(m.Bytes()))
	if err == nil {
		p.Fill(m.Bytes())
		err = s.Reply(ctx, m, p)
	}
	return err == nil
}

// swallow reads what comes to its end and says what was wrong with it. Now and then it
// sends something to the other side, which may have closed.
func (c *churn) swallow(ctx context.Context, s *Session) error {
	want := int(s.Header()[0])
	for i := 0; ; i++ {
		m, err := s.Recv(ctx)
		switch {
		case errors.Is(err, io.EOF) && i == want:
			return nil
		case err != nil:
			return fmt.Errorf("after %d of %d messages: %w", i, want, err)
		}
		if err := ofNumber(m, i); err != nil {
			return err
		}
		if i%5 == 2 {
			short, cancel := context.WithTimeout(ctx, time.Millisecond)
			_ = s.SendBytes(short, []byte("an answer that nobody waits for"))
			cancel()
		}
	}
}

func (c *churn) calls(rnd *rand.Rand, from *Client, to string) error {
	ctx := testContext(c)
	s, err := from.Open(ctx, to+"/echo", nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	for i := range 1 + rnd.IntN(5) {
		if err := c.call(ctx, s, rnd, i); err != nil {
			return fmt.Errorf("call: %w", err)
		}
	}
	return nil
}

func (c *churn) call(ctx context.Context, s *Session, rnd *rand.Rand, number int) error {
	p, err := c.parcel(ctx, s, rnd, number)
	if err != nil {
		return err
	}
	m, err := s.Call(ctx, p)
	if err != nil {
		return err
	}
	return ofNumber(m, number)
}

// together makes calls side by side and answers how many got their reply; the others
// must have ended because the session did.
func (c *churn) together(s *Session, rnd *rand.Rand, n int) (replies int, err error) {
	ctx, results := testContext(c), make(chan error, n)
	for i := range n {
		own := rand.New(rand.NewPCG(rnd.Uint64(), 2))
		go func() { results <- c.call(ctx, s, own, i) }()
	}
	for range n {
		switch got := <-results; {
		case got == nil:
			replies++
		case !errors.Is(got, ErrClosed) && !errors.Is(got, ErrPeer) && !errors.Is(got, io.EOF):
			err = fmt.Errorf("call beside others: %w", got)
		}
	}
	return replies, err
}

func (c *churn) callsCutShort(rnd *rand.Rand, from *Client, to string) error {
	s, err := from.Open(testContext(c), to+"/echo", nil)
	if err != nil {
		return err
	}
	t := time.AfterFunc(time.Duration(rnd.IntN(800))*time.Microsecond, func() { _ = s.Close() })
	defer t.Stop()
	defer func() { _ = s.Close() }()
	_, err = c.together(s, rnd, 3+rnd.IntN(12))
	return err
}

func (c *churn) once(rnd *rand.Rand, from *Client, to string) error {
	s, err := from.Open(testContext(c), to+"/once", nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	replies, err := c.together(s, rnd, 1+rnd.IntN(3))
	if err == nil && replies != 1 {
		err = fmt.Errorf("%w: %d replies of one who answers once", ErrPeer, replies)
		if replies == 0 {
			return err
		}
		return fmt.Errorf("%d replies of one who answers once", replies)
	}
	return err
}

func (c *churn) refused(rnd *rand.Rand, from *Client, to string) error {
	ctx := testContext(c)
	s, err := from.Open(ctx, to+"/no", nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err = c.call(ctx, s, rnd, 1); errors.Is(err, ErrRefused) {
		return nil
	}
	return fmt.Errorf("a call that is refused: %w", err)
}

func (c *churn) sink(rnd *rand.Rand, from *Client, to string) error {
	n, report := rnd.IntN(40), make(chan error, 1)
	header := fmt.Appendf([]byte{byte(n)}, "%x", rnd.Uint64())
	c.mu.Lock()
	c.reports[string(header)] = report
	c.mu.Unlock()
	ctx := testContext(c)
	s, err := from.Open(ctx, to+"/sink", header)
	if err != nil {
		return err
	}
	for i := range n {
		p, err := c.parcel(ctx, s, rnd, i)
		if err == nil {
			err = s.Send(ctx, p)
		}
		if err != nil {
			_ = s.Close()
			<-report
			return fmt.Errorf("send %d of %d: %w", i, n, err)
		}
	}
	_ = s.Close()
	return <-report
}

func (c *churn) push(rnd *rand.Rand, from *Client, to string) error {
	n, ctx := rnd.IntN(40), testContext(c)
	s, err := from.Open(ctx, to+"/push", []byte{byte(n)})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	for i := 0; ; i++ {
		if i%4 == 1 { // to somebody who reads nothing, and may have closed
			short, cancel := context.WithTimeout(ctx, time.Duration(rnd.IntN(300))*time.Microsecond)
			_ = s.SendBytes(short, make([]byte, 1+rnd.IntN(5000)))
			cancel()
		}
		m, err := s.Recv(ctx)
		if errors.Is(err, io.EOF) && i == n {
			return nil
		}
		if err != nil {
			return fmt.Errorf("received %d of %d: %w", i, n, err)
		}
		if err := ofNumber(m, i); err != nil {
			return err
		}
	}
}

func (c *churn) mute(rnd *rand.Rand, from *Client, to string) error {
	s, err := from.Open(testContext(c), to+"/mute", []byte{byte(rnd.Uint32())})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(3000))*time.Microsecond)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 3 {
		own := rand.New(rand.NewPCG(rnd.Uint64(), 4))
		wg.Go(func() {
			for {
				p, err := c.parcel(ctx, s, own, i)
				if err != nil || s.Send(ctx, p) != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return nil
}

func (c *churn) canceled(rnd *rand.Rand, from *Client, to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(300))*time.Microsecond)
	defer cancel()
	s, err := from.Open(ctx, to+"/echo", make([]byte, rnd.IntN(500)))
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if err == nil {
		err = s.Close()
	}
	return err
}

func (c *churn) hurried(rnd *rand.Rand, from *Client, to string) error {
	s, err := from.Open(testContext(c), to+"/echo", nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	for i := range 4 { // a reply that comes too late is dropped, and disturbs no other
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(500))*time.Microsecond)
		err := c.call(ctx, s, rnd, i)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return c.call(testContext(c), s, rnd, 9)
}
