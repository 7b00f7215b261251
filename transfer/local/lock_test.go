package local

import (
	"context"
	"errors"
	"sync"
	"testing"

	tusd "github.com/tus/tusd/v2/pkg/handler"
)

func TestLocks(t *testing.T) {
	all := &locks{held: map[string]chan struct{}{}}
	var wg sync.WaitGroup
	inside := map[string]int{} // guarded by the locks under test: -race sees a breach
	for i := range 40 {
		id := string(rune('a' + i%2))
		wg.Go(func() {
			l, _ := all.NewLock(id)
			if err := l.Lock(t.Context(), nil); err != nil {
				t.Error(err)
				return
			}
			if id == "a" {
				inside["a"]++
			}
			if err := l.Unlock(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if inside["a"] != 20 || len(all.held) != 0 {
		t.Fatalf("%d of 20 got in, %d locks are left", inside["a"], len(all.held))
	}
}

func TestLockGivesUp(t *testing.T) {
	all := &locks{held: map[string]chan struct{}{}}
	first, _ := all.NewLock("x")
	if err := first.Lock(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	second, _ := all.NewLock("x")
	if err := second.Lock(ctx, nil); !errors.Is(err, tusd.ErrLockTimeout) {
		t.Fatalf("Lock: %v", err)
	}
}
