package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"berth/transfer"
)

func TestAgree(t *testing.T) {
	for _, c := range []struct {
		reads []int64
		want  int64
		asked int
	}{{[]int64{5, 5}, 5, 2}, {[]int64{1, 2, 2}, 2, 3}, {[]int64{1, 2, 1, 1}, 1, 4}} {
		asked := 0
		got, err := Agree(t.Context(), func(context.Context) (int64, error) {
			asked++
			return c.reads[asked-1], nil
		})
		if err != nil || got != c.want || asked != c.asked {
			t.Errorf("%v: %d after %d reads, %v", c.reads, got, asked, err)
		}
	}
}

func TestAgreeEnds(t *testing.T) {
	n := int64(0)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Agree(ctx, func(context.Context) (int64, error) {
		if n++; n == 3 {
			cancel()
		}
		return n, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	boom := errors.New("boom")
	if _, err := Agree(t.Context(), func(context.Context) (int64, error) { return 0, boom }); !errors.Is(err, boom) {
		t.Errorf("failed: %v", err)
	}
}

func TestPlace(t *testing.T) {
	o := transfer.Object{ID: "abcdefghijklmnopqrstuvwxyz", Name: "ü b.txt", Size: 1}
	for _, c := range []struct {
		template    Template
		final, part string
		own         bool
	}{
		{"", "/d/" + o.ID + "/ü b.txt", "/d/" + o.ID + "/ü b.txt.part", true},
		{"{name}", "/d/ü b.txt", "/d/." + o.ID + ".part", false},
		{"in/{name}", "/d/in/ü b.txt", "/d/in/." + o.ID + ".part", false},
		{"{id}", "/d/" + o.ID, "/d/." + o.ID + ".part", false},
		{"x/{id}/y/{name}", "/d/x/" + o.ID + "/y/ü b.txt", "/d/x/" + o.ID + "/y/ü b.txt.part", true},
		{"{id}-{name}", "/d/" + o.ID + "-ü b.txt", "/d/." + o.ID + ".part", false},
	} {
		p, err := c.template.Place("/d", o)
		if err != nil || p.Final != c.final || p.Part != c.part || p.Own != c.own {
			t.Errorf("%q: %+v, %v", c.template, p, err)
		}
		// Another directory is configured by the time the upload goes on.
		w, err := c.template.Within(p.Part, o)
		if err != nil || w != p {
			t.Errorf("%q: within %s: %+v, %v", c.template, p.Part, w, err)
		}
	}
	long := transfer.Object{ID: o.ID, Name: strings.Repeat("n", 255)}
	if p, err := Template("").Place("/", long); err != nil || len(p.Part) > 255 {
		t.Errorf("a long name: %+v, %v", p, err)
	}
}

func TestTemplates(t *testing.T) {
	for _, s := range []Template{"", "fixed", "{ID}", "{id}\r\n"} {
		if s.Check() == nil {
			t.Errorf("%q is fine", s)
		}
	}
	o := transfer.Object{ID: "id", Name: "a b/ü?#%.txt"}
	l, ok := Template("https://host/{id}/{name}").Link(o)
	if want := "https://host/id/a%20b%2F%C3%BC%3F%23%25.txt"; !ok || l != want {
		t.Errorf("%s, want %s", l, want)
	}
}

// TestPatience: a peer that takes nothing is given up, one that is slow isn't.
func TestPatience(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := Watch(ours, 50*time.Millisecond)
	defer c.Close()
	if _, err := c.Write(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write to nobody: %v", err)
	}
	if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read from nobody: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	if n, err := c.ReadFrom(strings.NewReader(strings.Repeat("x", 3*Piece+1))); err != nil || n != 3*Piece+1 {
		t.Errorf("ReadFrom: %d, %v", n, err)
	}
}

type closer struct{ closed int }

func (c *closer) Close() error { c.closed++; return nil }

func TestPool(t *testing.T) {
	var p Pool[*closer]
	if _, _, ok := p.Get(); ok {
		t.Fatal("a connection out of nothing")
	}
	var all []*closer
	for range maxIdle + 3 {
		c := &closer{}
		all = append(all, c)
		p.Put(c)
	}
	last := all[len(all)-1]
	if c, stale, ok := p.Get(); !ok || stale || c != last {
		t.Fatal("not the one used last")
	}
	if all[0].closed != 1 || all[3].closed != 0 {
		t.Fatal("the oldest stay")
	}
	p.Close()
	p.Put(last)
	for i, c := range all {
		if c.closed != 1 {
			t.Errorf("connection %d was closed %d times", i, c.closed)
		}
	}
}
