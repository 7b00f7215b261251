package tus_test

import (
	"context"
	"testing"

	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
	"berth/transfer/tus"
)

func BenchmarkUpload1GiB(b *testing.B) {
	s := servers.Memory(b, servers.TUSProcess)
	backend, err := tus.New(tus.Config{URL: s.URL, Authorization: func(context.Context) (string, error) { return "Bearer " + s.Password, nil }})
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	transfertest.Bench(b, backend)
}
