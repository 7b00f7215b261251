package tus

import (
	"context"
	"testing"

	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
)

func BenchmarkUpload1GiB(b *testing.B) {
	s := servers.Memory(b, servers.TUSProcess)
	backend, err := New(Config{URL: s.URL, Authorization: func(context.Context) (string, error) { return "Bearer " + s.Password, nil }})
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	transfertest.Bench(b, backend)
}
