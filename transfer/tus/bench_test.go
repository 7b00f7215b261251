package tus

import (
	"context"
	"testing"

	"berth/transfer"
	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
)

func BenchmarkUpload1GiB(b *testing.B)  { bench(b, transfertest.Bench) }
func BenchmarkUploadSmall(b *testing.B) { bench(b, transfertest.BenchSmall) }

func bench(b *testing.B, run func(*testing.B, transfer.Backend)) {
	s := servers.Memory(b, servers.TUSProcess)
	backend, err := New(Config{URL: s.URL, Authorization: func(context.Context) (string, error) { return "Bearer " + s.Password, nil }})
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	run(b, backend)
}
