package ipc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

func names(all []Entry) (list []string) {
	for _, e := range all {
		list = append(list, e.Name)
	}
	return list
}

func TestWatchSeesWhoComesAndGoes(t *testing.T) {
	e := testEngine(t, Options{})
	a := testClient(t, e, "a")
	ctx, cancel := context.WithCancel(testContext(t))
	lists := make(chan []Entry)
	go func() {
		defer close(lists)
		for all := range a.Watch(ctx) {
			lists <- all
		}
	}()
	until := func(want ...string) []Entry {
		t.Helper()
		for all := range lists {
			if slices.Equal(names(all), want) {
				return all
			}
		}
		t.Fatalf("the watch ended before %q were there", want)
		return nil
	}
	until("a")
	b := testClient(t, e, "b")
	until("a", "b")
	p := startCompanion(t, e, "server", "c")
	if all := until("a", "b", "c"); all[2].PID != p.Process.Pid || all[2].BlockBytes == 0 || time.Since(all[2].Registered) > time.Hour {
		t.Errorf("%+v", all[2])
	}
	p.kill()
	until("a", "b")
	_ = b.Close()
	until("a")
	cancel()
	for range lists { // it ends
	}
}

func TestAwait(t *testing.T) {
	e := testEngine(t, Options{})
	a := testClient(t, e, "a")
	if got, err := a.Await(testContext(t), "a"); err != nil || got.Name != "a" {
		t.Fatalf("who is there already: %+v, %v", got, err)
	}
	short, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := a.Await(short, "nobody"); !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled: %v", err)
	}
	ended := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := a.Await(testContext(t), "nobody")
			ended <- err
		}()
	}
	found := make(chan error, 1)
	go func() {
		got, err := a.Await(testContext(t), "later")
		if err == nil && got.Generation == 0 {
			err = fmt.Errorf("found %+v", got)
		}
		found <- err
	}()
	waitFor(t, a.roster.waits)
	testClient(t, e, "later")
	if err := <-found; err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Fatalf("after Close: %v", err)
		}
	}
	if a.Companions() != nil {
		t.Error("a closed client still lists companions")
	}
	late := testClient(t, e, "late")
	go func() {
		_, err := late.Await(testContext(t), "nobody")
		ended <- err
	}()
	waitFor(t, late.roster.waits)
	_ = e.Close()
	if err := <-ended; !errors.Is(err, ErrPeer) {
		t.Fatalf("after the engine's end: %v", err)
	}
}

// TestAnEmptyDirectoryIsNotTheEnd: the engine strikes everybody off before it hangs
// up, and who looks between the two waits on.
func TestAnEmptyDirectoryIsNotTheEnd(t *testing.T) {
	e := testEngine(t, Options{})
	c := testClient(t, e, "a")
	e.directory.retire(0, e.directory.generation(0)-1)
	lists := 0
	for all := range c.Watch(testContext(t)) {
		if lists++; lists == 1 {
			if len(all) != 0 {
				t.Fatalf("an empty directory lists %v", all)
			}
			testClient(t, e, "b")
			continue
		}
		if len(all) != 1 || all[0].Name != "b" {
			t.Fatalf("then %v", all)
		}
		break
	}
	if lists != 2 {
		t.Fatalf("it ended after %d lists", lists)
	}
}

func (r *roster) waits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// TestNoChangeIsMissed has many come and go while many wait for the last of them.
func TestNoChangeIsMissed(t *testing.T) {
	e := testEngine(t, Options{})
	watching := []*Client{testClient(t, e, "w1"), testClient(t, e, "w2"), testClient(t, e, "w3")}
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for i := range rounds {
		last := fmt.Sprint("last", i)
		var wait, churn sync.WaitGroup
		for j := range 6 {
			wait.Go(func() {
				if _, err := watching[j%3].Await(testContext(t), last); err != nil {
					t.Error(err)
				}
			})
		}
		for j := range 3 {
			churn.Go(func() {
				c, err := Dial(testContext(t), e.Endpoint(), fmt.Sprintf("churn%d-%d", i, j), Sizes(1, 1))
				if err == nil {
					err = c.Close()
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		churn.Wait()
		c := testClient(t, e, last, Sizes(1, 1))
		wait.Wait()
		_ = c.Close()
	}
	waitFor(t, func() bool { return slices.Equal(names(watching[0].Companions()), []string{"w1", "w2", "w3"}) })
}
