package ftp_test

import (
	"context"
	"testing"

	"berth/transfer"
	"berth/transfer/ftp"
	"berth/transfer/transfertest"
	"berth/transfer/transfertest/servers"
)

func TestConformance(t *testing.T)     { conform(t, servers.VSFTPD, "") }
func TestConformanceFlat(t *testing.T) { conform(t, servers.VSFTPD, "{name}") }

func conform(t *testing.T, start servers.Starter, path string) {
	s := servers.Start(t, start)
	transfertest.Run(t, func(t *testing.T, over func(transfertest.Dial) transfertest.Dial) transfertest.Fixture {
		f := transfertest.FileFixture(t, s, path, func(dir, password string) transfer.Backend {
			return open(t, ftp.Config{
				Addr: s.Addr, User: s.User, Dir: dir, Path: path, Dial: over(nil),
				Password: func(context.Context) (string, error) { return password, nil },
			})
		})
		f.Stale = true
		return f
	})
}

func TestOverwrite(t *testing.T) {
	s := servers.Start(t, servers.VSFTPD)
	dir, root, err := s.NewDir()
	if err != nil {
		t.Fatal(err)
	}
	transfertest.Overwrite(t, open(t, ftp.Config{
		Addr: s.Addr, User: s.User, Dir: dir, Path: "{name}", Overwrite: true,
		Password: func(context.Context) (string, error) { return s.Password, nil },
	}), root)
}

func open(t testing.TB, cfg ftp.Config) *ftp.Backend {
	b, err := ftp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}
