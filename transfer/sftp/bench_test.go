package sftp_test

import (
	"testing"

	"berth/transfer"
	"berth/transfer/sftp"
	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
)

func BenchmarkUpload1GiB(b *testing.B)  { bench(b, transfertest.Bench) }
func BenchmarkUploadSmall(b *testing.B) { bench(b, transfertest.BenchSmall) }

func bench(b *testing.B, run func(*testing.B, transfer.Backend)) {
	s := servers.Memory(b, servers.SSHD)
	run(b, open(b, sftp.Config{Addr: s.Addr, User: s.User, Password: secret(s.Password), KnownHosts: &hosts{}}))
}
