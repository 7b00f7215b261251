package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"berth/control"
	"berth/ipc"
	"berth/portshare"
	"berth/session"
	"berth/singleton"
	"berth/transfer"
	"berth/tray"
)

const (
	// drainTime is how long an ending controller takes for what it is doing. What
	// is not finished by then goes on with the next controller.
	drainTime = 4 * time.Second
	// holdWait is how long a start waits for another controller that is just
	// starting or ending, before it says who that is.
	holdWait = 8 * time.Second
)

// settings are what the controller of a session starts with.
type settings struct {
	config
	file     string // config.toml
	stateDir string
	secrets  secrets
	known    hostKeys
}

func (p *program) settings(s session.Session) (settings, error) {
	file, c, err := p.config()
	if err != nil {
		return settings{}, err
	}
	dir, err := s.StateDir()
	return settings{config: c, file: file, stateDir: dir, secrets: secretsBeside(file), known: hostKeysBeside(file)}, err
}

// run is the life of a controller, from taking the lock of the session to
// releasing it.
func (p *program) run(ctx context.Context, noTray bool) (err error) {
	ipc.Tune()
	if os.Getenv("BERTH_DUMPABLE") == "" { // for who has to debug a controller
		if err := ipc.Seclude(); err != nil && !errors.Is(err, ipc.ErrNoSeclusion) {
			return err
		}
	}
	s, err := p.session()
	if err != nil {
		return err
	}
	cfg, err := p.settings(s)
	if err != nil {
		return err
	}
	lock, err := acquire(ctx, s)
	if err != nil {
		return err
	}
	defer join(&err, lock.Release)
	leaveOwnConsole()
	rec, err := portshare.Join(s, app)
	if err != nil {
		return err
	}
	defer join(&err, rec.Close)
	log, logFile, err := openLog(s, p.err)
	if err != nil {
		return err
	}
	defer join(&err, logFile.Close)
	defer func() { log.Info("ended", "error", err) }()
	return p.live(ctx, s, lock, rec, cfg, log, noTray)
}

// live serves until the person, the system or the session ends it. The tray has
// this goroutine, the main one, because macOS asks for that.
func (p *program) live(ctx context.Context, s session.Session, lock *singleton.Lock, rec *portshare.Record, cfg settings, log *slog.Logger, noTray bool) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	ended := make(chan struct{})
	defer onLogoff(end, ended)()
	go endWhenLost(lock, end, ended, log)

	var err error
	ready := make(chan *service, 1)
	go func() {
		defer close(ended)
		err = serve(ctx, s, rec, cfg, log, func(api *service) {
			p.greet(api)
			ready <- api
		})
	}()
	if !noTray {
		p.showTray(ready, end, ended, log)
	}
	<-ended
	return err
}

// greet says on the terminal where the controller is.
func (p *program) greet(api *service) {
	if info, err := api.record.Info(); err == nil {
		fmt.Fprintf(p.out, "controller (pid %d) listens on 127.0.0.1:%d for %s\n", info.PID, info.Port, api.session)
	}
}

// endWhenLost drains when the session is over: its runtime directory has gone,
// and with it the lock, so that the next session would start a second controller.
func endWhenLost(lock *singleton.Lock, end func(), ended <-chan struct{}, log *slog.Logger) {
	select {
	case <-lock.Lost():
		log.Warn("the session is over: its runtime directory is gone")
		end()
	case <-ended:
	}
}

// showTray shows the icon until the controller has ended. Its failure is noted
// and changes nothing else.
func (p *program) showTray(ready <-chan *service, end func(), ended <-chan struct{}, log *slog.Logger) {
	ctx, hide := context.WithCancel(context.Background())
	defer hide()
	go func() {
		<-ended
		hide()
	}()
	select {
	case api := <-ready:
		err := tray.Run(ctx, tray.Config{
			Service: api, Open: p.openMonitor, Log: log,
			Exit: func() {
				end()
				<-ended
			},
		})
		if err != nil {
			log.Warn("there is no tray icon; transfers go on", "error", err)
		}
	case <-ended:
	}
}

// acquire makes this process the controller of s, or says who is.
func acquire(ctx context.Context, s session.Session) (*singleton.Lock, error) {
	patience := time.After(holdWait)
	for {
		lock, err := singleton.Acquire(s, app)
		if !errors.Is(err, singleton.ErrHeld) {
			return lock, err
		}
		info, err := portshare.Peek(s, app)
		if err == nil && info.State == portshare.Listening {
			return nil, held(s, fmt.Sprintf("pid %d on port %d, generation %d", info.PID, info.Port, info.Generation))
		}
		select {
		case <-time.After(20 * time.Millisecond): // a lock that is released tells nobody
		case <-patience:
			return nil, held(s, "it is starting or ending and says nothing; `controller doctor` tells more")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func held(s session.Session, who string) error {
	return withCode(exitRunning, &control.Error{
		Code:    control.CodeConflict,
		Message: fmt.Sprintf("a controller of this session (%s) runs already: %s", s, who),
		Next:    "Use it with `controller add`, `list` or `open`, or end it with `controller quit`.",
	})
}

// drain ends the work in order: nobody new is let in, what was accepted is made
// safe, those who watch are told, and the port goes back to reserved.
func drain(cause error, rec *portshare.Record, queue *transfer.Queue, server *control.Server, log *slog.Logger) error {
	log.Info("draining")
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	told := make(chan error, 1)
	go func() { told <- unlessGone(rec.Drain()) }() // a participant that is stopped may hold the record's gate
	err := errors.Join(cause, queue.Drain(ctx))
	err = errors.Join(err, <-told, server.Shutdown(ctx), unlessGone(rec.Withdraw()))
	log.Info("drained: what was accepted is safe", "error", err) // at a logoff Windows may end the process any time now
	return err
}

// unlessGone passes over a record that went with its session: nobody is left to
// be told anything there.
func unlessGone(err error) error {
	if errors.Is(err, portshare.ErrStale) {
		return nil
	}
	return err
}

// join adds the error of a deferred call to *err.
func join(err *error, closing func() error) { *err = errors.Join(*err, closing()) }
