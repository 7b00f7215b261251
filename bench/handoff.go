package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"berth/ipc"
)

var moveSizes = []int{4 << 10, 1 << 20, 64 << 20, 1 << 30}

// move is how long it took to hand one parcel over: until Send came back, and from
// then until the answer of a receiver that looked at the first byte.
type move struct {
	Way        string
	Size       int
	Send, Rest time.Duration
}

func (m move) total() time.Duration { return m.Send + m.Rest }

// measureMoves has one companion hand parcels to this process, the engine's host, and
// through it to another companion. It answers medians.
func measureMoves() ([]move, error) {
	sess, dir, err := benchSession()
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	e, err := ipc.NewEngine(sess, ipc.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.Close() }()
	e.Handle("look", look)
	got := make(chan []byte, 1)
	e.Handle("results", func(ctx context.Context, s *ipc.Session) {
		b, _ := io.ReadAll(s.Reader(ctx))
		got <- b
	})
	for _, role := range []string{"looker", "mover"} {
		cmd, err := child(role, e.Endpoint())
		if err != nil {
			return nil, err
		}
		defer stop(cmd)
	}
	select {
	case b := <-got:
		var all []move
		return all, json.Unmarshal(b, &all)
	case <-time.After(time.Minute):
		return nil, errors.New("the mover said nothing for a minute")
	}
}

// look answers every message with its first byte.
func look(ctx context.Context, s *ipc.Session) {
	for {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		first := m.Bytes()[:1:1]
		if s.SendBytes(ctx, []byte{first[0]}) != nil {
			return
		}
		m.Release()
	}
}

func playLooker(endpoint string) error {
	c, err := ipc.Dial(context.Background(), endpoint, "looker")
	if err != nil {
		return err
	}
	c.Handle("look", look)
	c.HandleTrusted("trusted", look)
	<-c.Done()
	return nil
}

func playMover(endpoint string) error {
	ctx := context.Background()
	c, err := ipc.Dial(ctx, endpoint, "mover")
	if err != nil {
		return err
	}
	if _, err := c.Await(ctx, "looker"); err != nil {
		return err
	}
	time.Sleep(50 * time.Millisecond) // it registers its services after its name
	var all []move
	for _, w := range []struct {
		way, address string
		open         func(context.Context, string, []byte) (*ipc.Session, error)
		pause        time.Duration
	}{
		{"to the controller, one after the other", "controller/look", c.Open, 0},
		{"to the controller, everybody asleep", "controller/look", c.Open, pause},
		{"to a companion, immutable, asleep", "looker/look", c.Open, pause},
		{"to a companion, trusted, asleep", "looker/trusted", c.OpenTrusted, pause},
	} {
		s, err := w.open(ctx, w.address, nil)
		if err != nil {
			return err
		}
		for _, size := range moveSizes {
			m, err := moveMany(ctx, s, size, w.pause)
			if err != nil {
				return fmt.Errorf("%s, %d bytes: %w", w.way, size, err)
			}
			m.Way = w.way
			all = append(all, m)
		}
		_ = s.Close()
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	s, err := c.Open(ctx, "controller/results", nil)
	if err != nil {
		return err
	}
	w := s.Writer(ctx)
	if _, err := w.Write(b); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	<-c.Done()
	return nil
}

// pause is long enough for everybody to fall asleep for good and wait for a doorbell, as
// all do while a large parcel is filled: who has heard nothing for less than 20 ms may
// still nap on the lane, and wakes sooner.
const pause = 50 * time.Millisecond

func moveMany(ctx context.Context, s *ipc.Session, size int, pause time.Duration) (move, error) {
	var sends, rests []time.Duration
	count := 50_000
	if pause > 0 {
		count = 25
	}
	for range count {
		m, err := moveOne(ctx, s, size, pause)
		if err != nil {
			return m, err
		}
		sends, rests = append(sends, m.Send), append(rests, m.Rest)
	}
	slices.Sort(sends)
	slices.Sort(rests)
	return move{Size: size, Send: sends[len(sends)/2], Rest: rests[len(rests)/2]}, nil
}

// moveOne hands over a parcel. After a pause every page of it has been written, so
// that there is something to unmap; without one, only the first byte anew.
func moveOne(ctx context.Context, s *ipc.Session, size int, pause time.Duration) (move, error) {
	p, err := s.Alloc(ctx, size)
	if err != nil {
		return move{}, err
	}
	p.Bytes()[0] = 7
	if pause > 0 {
		for i := 0; i < size; i += 4096 {
			p.Bytes()[i] = 7
		}
		time.Sleep(pause)
	}
	var full atomic.Bool
	full.Swap(true) // waits for the stores before it: the parcel is full when the clock starts
	start := time.Now()
	if err := s.Send(ctx, p); err != nil {
		return move{}, err
	}
	sent := time.Now()
	m, err := s.Recv(ctx)
	if err != nil {
		return move{}, err
	}
	defer m.Release()
	if m.Bytes()[0] != 7 {
		return move{}, errors.New("the receiver saw another byte")
	}
	return move{Send: sent.Sub(start), Rest: time.Since(sent)}, nil
}

func printMoves(out io.Writer, all []move) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "\nHanding over a parcel that is full already, microseconds: Send + until the receiver's answer (x of 4 KiB)")
	fmt.Fprint(w, "\t")
	for _, size := range moveSizes {
		fmt.Fprintf(w, "%s\t", sizeName(size))
	}
	base := time.Duration(1)
	for i, m := range all {
		if i%len(moveSizes) == 0 {
			fmt.Fprintf(w, "\n%s\t", m.Way)
			base = max(1, m.total())
		}
		fmt.Fprintf(w, "%.1f + %.1f (%.1f)\t", micro(m.Send), micro(m.Rest), float64(m.total())/float64(base))
	}
	fmt.Fprintln(w)
	_ = w.Flush()
}
