package ipc

import (
	"bytes"
	"errors"
	"testing"
)

func TestCacheOutlivesItsSender(t *testing.T) {
	e := testEngine(t, Options{Budget: 64 << 20, Cache: 3 << 20})
	ctx := testContext(t)
	early := testClient(t, e, "early")
	body := make([]byte, 1_000_001)
	fill(body, 5)
	if err := early.Retain(ctx, "picture", body); err != nil {
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
	if !bytes.Equal(first.Bytes(), body) {
		t.Fatal("changed")
	}
	other := make([]byte, 2_500_000)
	fill(other, 6)
	if err := late.Retain(ctx, "film", other); err != nil { // evicts the picture
		t.Fatal(err)
	}
	if _, err := late.Fetch(ctx, "picture"); !errors.Is(err, ErrAddress) {
		t.Fatalf("evicted: %v", err)
	}
	if !bytes.Equal(first.Bytes(), body) {
		t.Fatal("what was fetched changed when it was evicted")
	}
	first.Release()
	for range 3 {
		m, err := late.Fetch(ctx, "film")
		if err != nil || !bytes.Equal(m.Bytes(), other) {
			t.Fatal(err)
		}
		m.Release()
	}
	if err := late.Retain(ctx, "huge", make([]byte, 4<<20)); !errors.Is(err, ErrNoMemory) {
		t.Fatalf("larger than the cache: %v", err)
	}
	if err := late.Forget(ctx, "film"); err != nil {
		t.Fatal(err)
	}
	if err := late.Forget(ctx, "film"); !errors.Is(err, ErrAddress) {
		t.Fatalf("forgotten twice: %v", err)
	}
	waitFor(t, func() bool { r := resources(t); return r.maps <= before.maps && r.files <= before.files })
}
