package servers

import (
	"context"
	"os"
	"path/filepath"
)

// VSFTPD starts vsftpd: plain FTP, one system account whose directory is Root.
func VSFTPD(ctx context.Context, dir string) (*Server, error) {
	program, err := needs("vsftpd")
	if err != nil {
		return nil, err
	}
	root, err := home(dir, "ftp")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	const empty = "/var/run/vsftpd/empty"
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "vsftpd.conf")
	err = writeLines(conf, "listen=YES", "listen_address=127.0.0.1", "listen_port="+port, "background=NO",
		"anonymous_enable=NO", "local_enable=YES", "write_enable=YES", "local_umask=022", "local_root="+root,
		"seccomp_sandbox=NO", "pam_service_name=vsftpd", "secure_chroot_dir="+empty, "utf8_filesystem=YES",
		// A range inside the ephemeral ports ends in "500 OOPS" after some thousand files.
		"pasv_min_port=10000", "pasv_max_port=32000", "xferlog_enable=NO")
	if err != nil {
		return nil, err
	}
	s := &Server{Kind: "vsftpd", Addr: "127.0.0.1:" + port, User: account, Password: accountPassword, Root: root}
	s.URL = "ftp://" + account + "@" + s.Addr + "/"
	return s, daemon(ctx, s, program, conf)
}
