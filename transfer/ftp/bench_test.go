package ftp_test

import (
	"context"
	"testing"

	"berth/transfer"
	"berth/transfer/ftp"
	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
)

func BenchmarkUpload1GiB(b *testing.B)  { bench(b, transfertest.Bench) }
func BenchmarkUploadSmall(b *testing.B) { bench(b, transfertest.BenchSmall) }

func bench(b *testing.B, run func(*testing.B, transfer.Backend)) {
	s := servers.Memory(b, servers.VSFTPD)
	run(b, open(b, ftp.Config{
		Addr: s.Addr, User: s.User, Password: func(context.Context) (string, error) { return s.Password, nil },
	}))
}
