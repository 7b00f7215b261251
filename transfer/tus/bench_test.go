package tus_test

import (
	"context"
	"os"
	"testing"

	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
	"berth/transfer/tus"
)

func BenchmarkUpload1GiB(b *testing.B) {
	dir, err := os.MkdirTemp("/dev/shm", "berth-bench-")
	if err != nil {
		b.Skip("no memory file system")
	}
	defer os.RemoveAll(dir)
	s, err := servers.TUSProcess(b.Context(), dir)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop()
	backend, err := tus.New(tus.Config{URL: s.URL, Authorization: func(context.Context) (string, error) { return "Bearer " + s.Password, nil }})
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	transfertest.Bench(b, backend)
}
