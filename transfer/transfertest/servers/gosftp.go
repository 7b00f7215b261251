package servers

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// GoSFTP serves SFTP inside this process, by another implementation than
// OpenSSH's: it takes requests in any order and renames over existing files. It
// needs neither root nor an account.
func GoSFTP(_ context.Context, dir string) (*Server, error) {
	root := filepath.Join(dir, "gosftp")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{Kind: "gosftp", Addr: l.Addr().String(), Password: "go-secret", Root: root, HostKey: ssh.FingerprintSHA256(key.PublicKey())}
	g := &goSFTP{root: root, config: &ssh.ServerConfig{
		// A question instead of a password: some servers know only this way.
		KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			a, err := ask("", "", []string{"Password: "}, []bool{false})
			if err != nil || len(a) != 1 || a[0] != s.Password {
				return nil, errors.New("no")
			}
			return nil, nil
		},
	}}
	g.config.AddHostKey(key)
	g.all.Go(func() { g.accept(l) })
	s.stop = func() error {
		err := l.Close()
		g.cut()
		g.all.Wait()
		return err
	}
	return s, nil
}

type goSFTP struct {
	root   string
	config *ssh.ServerConfig
	all    sync.WaitGroup
	mu     sync.Mutex
	conns  []net.Conn
}

func (g *goSFTP) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		g.conns = append(g.conns, c)
		g.mu.Unlock()
		g.all.Go(func() {
			defer c.Close()
			g.serve(c)
		})
	}
}

func (g *goSFTP) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		c.Close()
	}
}

func (g *goSFTP) serve(c net.Conn) {
	_, chans, reqs, err := ssh.NewServerConn(c, g.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	for ch := range chans {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "sftp only")
			continue
		}
		session, reqs, err := ch.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range reqs {
				_ = r.Reply(r.Type == "subsystem", nil)
			}
		}()
		g.all.Go(func() { g.session(session) })
	}
}

func (g *goSFTP) session(c io.ReadWriteCloser) {
	defer c.Close()
	s, err := sftp.NewServer(c, sftp.WithServerWorkingDirectory(g.root))
	if err != nil {
		return
	}
	_ = s.Serve() // ends with the connection
	_ = s.Close()
}
