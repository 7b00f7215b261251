// Command controller takes packages of files over from companions and uploads
// them in the background, one controller per user session.
//
// serve, below, is the whole program at a glance; the other files of this folder
// are its command line, its configuration and the conversions between packages
// that don't know each other.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/control"
	"berth/control/monitor"
	"berth/ipc"
	"berth/portshare"
	"berth/session"
	"berth/transfer"
	"berth/transfer/ftp"
	"berth/transfer/local"
	"berth/transfer/sftp"
	"berth/transfer/tus"
)

func main() { os.Exit(execute(os.Args[1:])) }

// serve is the controller of session s, from the first byte to the last. The
// caller holds the lock of the session and takes part in its port record.
//
//	companion ─► ipc.Engine ─► bridge ─► transfer.Queue ─► Backend ─► server
//	                                          ▲
//	      tray · monitor page · command line ─┴─ control.Server ◄─ service
func serve(ctx context.Context, s session.Session, rec *portshare.Record, cfg settings, log *slog.Logger, ready func(*service)) (err error) {
	ctx, quit := context.WithCancel(ctx)
	defer quit()

	files, err := local.New(local.Config{Dir: filepath.Join(cfg.stateDir, "local-"+s.StoreKey()), Log: log})
	if err != nil {
		return err
	}
	defer join(&err, files.Close)

	servers := &targets{settings: cfg, local: files, known: cfg.known}
	defer join(&err, servers.Close)

	queue, err := transfer.Open(ctx, transfer.Config{
		Dir: cfg.stateDir, Key: s.StoreKey(), Backend: servers.backend, Log: log,
		Concurrency: cfg.Limits.Concurrency, BytesPerSecond: cfg.Limits.BytesPerSecond,
	})
	if err != nil {
		return err
	}
	defer join(&err, func() error { return queue.Drain(context.Background()) }) // nothing is left to do after drain

	engine, err := ipc.NewEngine(s, ipc.Options{Log: log})
	if err != nil {
		return err
	}
	defer join(&err, engine.Close)
	engine.Handle(control.PackageService, bridge{queue, log}.serve)

	cert, fingerprint, err := control.NewCertificate()
	if err != nil {
		return err
	}
	key := newKey()
	api := &service{session: s, record: rec, engine: engine, queue: queue, targets: servers, started: time.Now(), quit: quit}
	server := control.NewServer(control.ServerConfig{Service: api, Cert: cert, Key: key, Monitor: monitor.Handler(), Log: log})
	listener, err := rec.Listen()
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	info, err := rec.Publish(engine.Endpoint(), key, fingerprint)
	if err != nil {
		return err
	}
	log.Info("listening", "pid", info.PID, "port", info.Port, "generation", info.Generation, "session", s.Key())
	ready(api)

	select {
	case <-ctx.Done():
	case err = <-served: // the port is lost
	}
	return drain(err, rec, queue, server, log)
}

// newBackend is the one place that knows which protocols there are.
func newBackend(d destination, keep secrets, known hostKeys) (transfer.Backend, error) {
	u, err := d.parse()
	if err != nil {
		return nil, err
	}
	password := func(ctx context.Context) (string, error) { return keep.get(ctx, u) }
	switch u.Scheme {
	case "ftp":
		return ftp.New(ftp.Config{
			Addr: address(u, "21"), User: u.User.Username(), Password: password,
			Dir: directory(u), Path: d.Path, Link: d.Link, Overwrite: d.Overwrite,
		})
	case "sftp":
		return sftp.New(sftp.Config{
			Addr: address(u, "22"), User: u.User.Username(), KnownHosts: known,
			KeyFile: d.KeyFile, Passphrase: password, Agent: d.KeyFile == "", Password: password,
			Dir: directory(u), Path: d.Path, Link: d.Link, Overwrite: d.Overwrite,
		})
	case "tus+http", "tus+https":
		endpoint := strings.TrimPrefix(d.URL, "tus+")
		return tus.New(tus.Config{URL: endpoint, Authorization: bearer(keep, u), Link: d.Link})
	}
	return nil, fmt.Errorf("no backend speaks %q", u.Scheme)
}

// bearer sends the token of a tus server, if one is stored.
func bearer(keep secrets, u *url.URL) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		token, err := keep.lookup(ctx, u)
		if err != nil || token == "" {
			return "", err
		}
		return "Bearer " + token, nil
	}
}

// newKey is the session key of one generation.
func newKey() (key [32]byte) {
	_, _ = rand.Read(key[:]) // never fails: see crypto/rand
	return key
}
