package portshare

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkWake is the time from the start of Publish in one process to the return of
// Wait in another that was asleep. Each starts from silence of a few milliseconds, as
// in life.
func BenchmarkWake(b *testing.B) {
	s := here(b)
	r, err := Join(s, "test")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	ln, err := r.Listen()
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	waiter := start(b, "waiter")
	waiter.line(b)
	var took []time.Duration
	for b.Loop() {
		time.Sleep(3 * time.Millisecond)
		begun := time.Now().UnixNano()
		if _, err := r.Publish("endpoint", key(1), key(2)); err != nil {
			b.Fatal(err)
		}
		woken, err := strconv.ParseInt(strings.Fields(waiter.line(b))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Duration(woken-begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
	b.ReportMetric(0, "ns/op")
}

// waiter says when it saw each new generation.
func waiter(r *Record) error {
	fmt.Println("ready")
	for last := uint64(0); ; {
		i, err := r.Wait(r.running, func(i Info) bool { return i.Generation > last })
		if err != nil {
			return err
		}
		fmt.Println(time.Now().UnixNano())
		last = i.Generation
	}
}

// BenchmarkDeath is the time from kill -9 of a controller to the return of Wait in a
// companion that was asleep.
func BenchmarkDeath(b *testing.B) {
	s := here(b)
	r, err := Join(s, "test")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	var took []time.Duration
	for b.Loop() {
		c := start(b, "controller")
		c.line(b)
		if _, err := r.Listening(b.Context()); err != nil {
			b.Fatal(err)
		}
		begun := time.Now()
		c.cmd.Process.Kill()
		if _, err := r.Wait(b.Context(), func(i Info) bool { return i.State == Reserved }); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
		c.kill()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkInfo(b *testing.B) {
	r, err := Join(here(b), "test")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for b.Loop() {
		if _, err := r.Info(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJoin(b *testing.B) {
	s := here(b)
	for b.Loop() {
		r, err := Join(s, "test")
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}
