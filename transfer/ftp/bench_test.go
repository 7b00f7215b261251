package ftp_test

import (
	"context"
	"testing"

	"berth/transfer/ftp"
	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
)

func BenchmarkUpload1GiB(b *testing.B) {
	s := servers.Memory(b, servers.VSFTPD)
	transfertest.Bench(b, open(b, ftp.Config{
		Addr: s.Addr, User: s.User, Password: func(context.Context) (string, error) { return s.Password, nil },
	}))
}
