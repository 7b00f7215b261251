package ipc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/shm"
)

const page = 64 << 10 // whole pages on every system

// body is a payload of n bytes that its name determines.
func body(name string, n int) []byte {
	b := make([]byte, n)
	fill(b, byte(len(name))+name[0])
	copy(b, name)
	return b
}

func TestCacheOutlivesItsSender(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20, Cache: 3 << 20})
	ctx := testContext(t)
	early := testClient(t, e, "early")
	picture := body("picture", 1_000_001)
	if err := early.Retain(ctx, "picture", picture); err != nil {
		t.Fatal(err)
	}
	_ = early.Close()
	late := testClient(t, e, "late")
	before := resources(t)
	all, err := late.Cached(ctx)
	if err != nil || len(all) != 1 || all[0].Name != "picture" || all[0].Bytes != 1_000_001 || all[0].Owner != "early" {
		t.Fatalf("%+v, %v", all, err)
	}
	first, err := late.Fetch(ctx, "picture")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), picture) {
		t.Fatal("changed")
	}
	film := body("film", 2_500_000)
	if err := late.Retain(ctx, "film", film); !errors.Is(err, ErrNoMemory) {
		t.Fatalf("the picture is being read and there is no room for a film, but: %v", err)
	}
	if all, _ := late.Cached(ctx); len(all) != 1 || all[0].Readers != 1 {
		t.Fatalf("what is read was evicted: %+v", all)
	}
	first.Release()
	waitFor(t, func() bool { return e.Cached()[0].Readers == 0 })
	if err := late.Retain(ctx, "film", film); err != nil { // evicts the picture
		t.Fatal(err)
	}
	if _, err := late.Fetch(ctx, "picture"); !errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), `"picture"`) {
		t.Fatalf("evicted: %v", err)
	}
	for range 3 {
		m, err := late.Fetch(ctx, "film")
		if err != nil || !bytes.Equal(m.Bytes(), film) {
			t.Fatal(err)
		}
		m.Release()
	}
	if err := late.Forget(ctx, "film"); err != nil {
		t.Fatal(err)
	}
	if err := late.Forget(ctx, "film"); !errors.Is(err, ErrAddress) {
		t.Fatalf("forgotten twice: %v", err)
	}
	waitFor(t, func() bool {
		r := resources(t)
		return e.Stats().CacheUsed == 0 && r.maps <= before.maps && r.files <= before.files
	})
}

// TestForgettingWhileSomebodyReads: the name goes at once, the memory, and what it
// takes of the budget, with the last reader.
func TestForgettingWhileSomebodyReads(t *testing.T) {
	e := testEngine(t, Options{Cache: 4 * page})
	c, ctx := testClient(t, e, "a"), testContext(t)
	old := body("old", 3*page)
	if err := c.Retain(ctx, "x", old); err != nil {
		t.Fatal(err)
	}
	m, err := c.Fetch(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Forget(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Fetch(ctx, "x"); !errors.Is(err, ErrAddress) {
		t.Fatalf("forgotten, but: %v", err)
	}
	if st := e.Stats(); len(st.Cached) != 0 || st.CacheUsed != 3*page {
		t.Fatalf("%d bytes are read under no name, the cache counts %d", 3*page, st.CacheUsed)
	}
	if err := c.Retain(ctx, "y", body("y", 2*page)); !errors.Is(err, ErrNoMemory) {
		t.Fatalf("more than the budget: %v", err)
	}
	if err := c.Retain(ctx, "x", body("new", page)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Bytes(), old) {
		t.Fatal("what is being read changed")
	}
	m.Release()
	waitFor(t, func() bool { return e.Stats().CacheUsed == page })
}

// TestBadRequestsOfTheCache speaks to the service by hand.
func TestBadRequestsOfTheCache(t *testing.T) {
	e := testEngine(t, Options{Cache: 1 << 20})
	c, ctx := testClient(t, e, "a"), testContext(t)
	before := resources(t)
	for name, q := range map[string]struct {
		header string
		send   int // bytes
		want   error
		text   string
	}{
		"no json":        {"}", 0, ErrRefused, "no such request"},
		"no operation":   {`{"op":"burn"}`, 0, ErrRefused, "no such request"},
		"no name":        {`{"op":"retain","bytes":5}`, 5, ErrRefused, "a name has"},
		"a path":         {`{"op":"retain","name":"../x","bytes":5}`, 5, ErrRefused, "a name has"},
		"zero":           {`{"op":"retain","name":"x","bytes":0}`, 0, ErrRefused, "nothing to keep"},
		"negative":       {`{"op":"retain","name":"x","bytes":-1}`, 0, ErrRefused, "nothing to keep"},
		"huge":           {`{"op":"retain","name":"x","bytes":9223372036854775807}`, 5, ErrNoMemory, "9223372036854775807 bytes, the cache holds 1048576"},
		"one too many":   {`{"op":"retain","name":"x","bytes":1048577}`, 5, ErrNoMemory, "1048577 bytes, the cache holds 1048576"},
		"more than said": {`{"op":"retain","name":"x","bytes":5}`, 6, ErrRefused, "more bytes than were announced"},
		"less than said": {`{"op":"retain","name":"x","bytes":5}`, 4, ErrRefused, "unexpected EOF"},
		"nobody":         {`{"op":"fetch","name":"x"}`, 0, ErrAddress, "nothing is kept"},
	} {
		s, err := c.Open(ctx, "controller/.cache", []byte(q.header))
		if err != nil {
			t.Fatal(err)
		}
		w := s.Writer(ctx)
		_, _ = w.Write(make([]byte, q.send))
		_ = w.Close()
		m, err := s.Recv(ctx)
		if !errors.Is(err, q.want) || !strings.Contains(err.Error(), q.text) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
		_ = s.Close()
	}
	waitFor(t, func() bool {
		r := resources(t)
		return e.cache.empty() && r.maps <= before.maps && r.files <= before.files
	})
	if err := c.Retain(ctx, "all", make([]byte, 1<<20)); err != nil {
		t.Errorf("exactly the budget: %v", err)
	}
	for range 20 {
		if err := c.Retain(ctx, "all", nil); !errors.Is(err, ErrRefused) {
			t.Errorf("nothing: %v", err)
		}
	}
	if err := c.Retain(ctx, "a/b", []byte("x")); !errors.Is(err, ErrAddress) {
		t.Errorf("no name: %v", err)
	}
}

func TestARetainThatNeverComes(t *testing.T) {
	e := testEngine(t, Options{Cache: 1 << 20, stall: 10 * time.Millisecond})
	c, ctx := testClient(t, e, "a"), testContext(t)
	s, err := c.Open(ctx, "controller/.cache", []byte(`{"op":"retain","name":"x","bytes":5}`))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(ctx); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "the sender has stopped") {
		t.Errorf("%v, %v", m, err)
	}
	waitFor(t, e.cache.empty)
}

func (c *cache) empty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used == 0 && c.pending == 0 && len(c.kept) == 0
}

func TestMemoryIsReservedBeforeItIsTaken(t *testing.T) {
	e := testEngine(t, Options{Cache: 4 * page})
	c, ctx := testClient(t, e, "a"), testContext(t)
	var slow [2]*Session
	for i := range slow {
		header, _ := json.Marshal(cacheRequest{"retain", fmt.Sprint("slow", i), 2 * page})
		var err error
		if slow[i], err = c.Open(ctx, "controller/.cache", header); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return e.Stats().CacheUsed == 4*page })
	before := resources(t)
	for range 20 {
		if err := c.Retain(ctx, "x", []byte("x")); !errors.Is(err, ErrNoMemory) {
			t.Fatalf("all is reserved, but: %v", err)
		}
	}
	if after := resources(t); after.files > before.files || after.maps > before.maps {
		t.Errorf("memory was taken for what was refused: %+v, then %+v", before, after)
	}
	_ = slow[0].Close()
	waitFor(t, func() bool { return e.Stats().CacheUsed == 2*page })
	if err := c.Retain(ctx, "x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = slow[1].Close()
}

// TestEvictionOrder works on the cache alone.
func TestEvictionOrder(t *testing.T) {
	c := newCache(4 * page)
	keep := func(name string, pages int64) *closing {
		t.Helper()
		why := c.reserve(name, pages*page)
		if why == nil {
			c.put(&keptPayload{Cached: Cached{Name: name, Bytes: pages * page}, seg: shm.HeapSegment(1)})
		}
		return why
	}
	expect := func(want string, used int64) {
		t.Helper()
		all, took := c.list()
		got := ""
		for _, p := range all {
			got += p.Name
		}
		if got != want || took != used*page {
			t.Fatalf("kept %q with %d bytes, want %q with %d", got, took, want, used*page)
		}
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		keep(name, 1)
	}
	expect("abcd", 4)
	c.unlease(c.lease("a")) // used after b
	keep("e", 1)
	expect("acde", 4) // b was the oldest
	held := c.lease("c")
	for _, name := range []string{"d", "e", "a"} {
		c.unlease(c.lease(name))
	}
	keep("f", 1)
	expect("acef", 4) // d, for c is older but being read
	if why := keep("g", 4); why == nil || why.code != closeMemory {
		t.Fatal("room for four with one being read")
	}
	expect("acef", 4) // nothing was evicted in vain
	for _, name := range []string{"e", "f"} {
		c.unlease(c.lease(name))
	}
	keep("a", 1) // its earlier self is the oldest, but goes last
	expect("acf", 3)
	c.forget("c")
	expect("af", 3) // c is still read
	c.unlease(held)
	expect("af", 2)
	keep("h", 4)
	expect("h", 4)
	if c.reserve("i", 4*page+1) == nil || c.reserve("i", 0) == nil || c.reserve("i", -1) == nil {
		t.Fatal("room for what there is no room for")
	}
	c.close()
	expect("", 0)
}

func TestTooManyPayloads(t *testing.T) {
	c := newCache(1 << 40)
	for i := range maxKept + 10 {
		if why := c.reserve(fmt.Sprint(i), 1); why != nil {
			t.Fatal(why)
		}
		c.put(&keptPayload{Cached: Cached{Name: fmt.Sprint(i), Bytes: 1}, seg: shm.HeapSegment(1)})
	}
	if all, _ := c.list(); len(all) != maxKept || c.lease("9") != nil || c.lease("10") == nil {
		t.Fatalf("%d are kept", len(all))
	}
}

// playCacheUser is a companion that is going to be killed.
func playCacheUser(ctx context.Context, c *Client, role string) error {
	switch role {
	case "keeper":
		return c.Retain(ctx, "kept", body("kept", 3<<20))
	case "reader":
		_, err := c.Fetch(ctx, "kept")
		return err
	}
	header, _ := json.Marshal(cacheRequest{"retain", "half", 3 << 20})
	s, err := c.Open(ctx, "controller/.cache", header)
	if err != nil {
		return err
	}
	_, err = s.Writer(ctx).Write(body("half", 2<<20))
	return err
}

func TestKillsOfThoseWhoUseTheCache(t *testing.T) {
	e := testEngine(t, Options{Cache: 16 << 20})
	c, ctx := testClient(t, e, "a"), testContext(t)
	before := resources(t)
	half := startCompanion(t, e, "half a keeper", "b")
	if used := e.Stats().CacheUsed; used != 3<<20 {
		t.Fatalf("%d bytes are reserved", used)
	}
	half.kill()
	waitFor(t, func() bool { return e.Stats().CacheUsed == 0 })
	keeper := startCompanion(t, e, "keeper", "b")
	keeper.kill()
	waitFor(t, func() bool { return len(e.Stats().Companions) == 1 })
	for range 3 {
		reader := startCompanion(t, e, "reader", "c")
		if all := e.Cached(); len(all) != 1 || all[0].Readers != 1 || all[0].Owner != "b" {
			t.Fatalf("%+v", all)
		}
		reader.kill()
		waitFor(t, func() bool { return e.Cached()[0].Readers == 0 })
	}
	m, err := c.Fetch(ctx, "kept")
	if err != nil || !bytes.Equal(m.Bytes(), body("kept", 3<<20)) {
		t.Fatalf("what the dead one had retained: %v", err)
	}
	m.Release()
	if err := c.Forget(ctx, "kept"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		r := resources(t)
		return e.Stats().CacheUsed == 0 && r.maps <= before.maps && r.files <= before.files
	})
}

// TestFetchDuringEviction has many retain and fetch in a cache that is too small.
func TestFetchDuringEviction(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	e := testEngine(t, Options{Cache: 6 * page})
	ctx := testContext(t)
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	var users sync.WaitGroup
	var found, missing, full [4]int
	for g := range 4 {
		c := testClient(t, e, fmt.Sprint("user", g))
		rnd := rand.New(rand.NewPCG(seed, uint64(g)))
		users.Go(func() {
			for range rounds {
				name := fmt.Sprint("p", rnd.IntN(8))
				if rnd.IntN(3) == 0 {
					err := c.Retain(ctx, name, body(name, 1+rnd.IntN(2*page)))
					if errors.Is(err, ErrNoMemory) {
						full[g]++
					} else if err != nil {
						t.Errorf("seed %d: %v", seed, err)
					}
					continue
				}
				m, err := c.Fetch(ctx, name)
				if errors.Is(err, ErrAddress) {
					missing[g]++
					continue
				}
				if err != nil || !bytes.Equal(m.Bytes(), body(name, max(len(name), len(m.Bytes())))[:len(m.Bytes())]) {
					t.Errorf("seed %d: %s was read wrong, %v", seed, name, err)
					return
				}
				found[g]++
				m.Release()
			}
		})
	}
	users.Wait()
	t.Logf("found %v, missing %v, full %v", found, missing, full)
	waitFor(t, func() bool {
		all, used := e.cache.list()
		sum := int64(0)
		for _, p := range all {
			sum += cost(p.Bytes)
			if p.Readers != 0 {
				return false
			}
		}
		return used == sum && used <= 6*page
	})
}
