package ipc

import (
	"testing"
)

// TestBlocksGrowAndShrink lets both halves of a block grow and waits until the
// surplus is given back.
func TestBlocksGrowAndShrink(t *testing.T) {
	e := testEngine(t, Options{})
	e.Handle("echo", echo)
	c := testClient(t, e, "outlook", Sizes(1<<20, 1<<20))
	ctx := testContext(t)
	before := e.Stats().Used
	files := resources(t)
	s, err := c.Open(ctx, "controller/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	p, err := s.Alloc(ctx, 20<<20)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Call(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if used := e.Stats().Used; used < before+40<<20 {
		t.Fatalf("%d bytes of blocks before, %d while 20 MiB go there and back", before, used)
	}
	m.Release()
	waitFor(t, func() bool { return e.Stats().Used == before && !resources(t).exceeds(files) })
}

// TestASpentBudgetIsBalanced: what one companion doesn't use any more is there for
// another at once.
func TestASpentBudgetIsBalanced(t *testing.T) {
	e := testEngine(t, Options{Budget: 32 << 20, Largest: 24 << 20})
	a, b := testClient(t, e, "a", Sizes(1<<20, 64<<10)), testClient(t, e, "b", Sizes(1<<20, 64<<10))
	ctx := testContext(t)
	for i := range 6 {
		c := []*Client{a, b}[i%2]
		p, err := c.Alloc(ctx, 20<<20)
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		p.Release()
	}
}
