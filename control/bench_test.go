package control_test

import (
	"fmt"
	"testing"
	"time"

	"berth/control"
)

// BenchmarkList is the round trip of a list of jobs: TLS, JSON both ways.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{0, 10, 1000, 100000} {
		b.Run(fmt.Sprintf("jobs=%d", n), func(b *testing.B) {
			f := &fake{}
			for i := range n {
				f.jobs = append(f.jobs, control.Job{
					ID: fmt.Sprintf("%026d", i), Name: "minutes of the meeting", State: "queued", Destination: "local",
					BytesTotal: 1 << 30, Created: time.Unix(1e9, 0), Links: []string{"https://files.example.org/d/abcdefghijklmnopqrstuvwxyz"},
					Items: []control.Item{{ID: fmt.Sprintf("%026d", i), Name: "minutes.pdf", Path: "/home/user/minutes.pdf", Size: 1 << 30}},
				})
			}
			c := client(b, start(b, f, ""))
			for b.Loop() {
				if jobs, err := c.List(b.Context(), control.Filter{}); err != nil || len(jobs) != n {
					b.Fatal(len(jobs), err)
				}
			}
		})
	}
}

// BenchmarkConnect is what a program pays for its first call: the handshake.
func BenchmarkConnect(b *testing.B) {
	r := start(b, &fake{}, "")
	for b.Loop() {
		c := client(b, r)
		if _, err := c.Status(b.Context()); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
