package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"berth/control"
	"berth/portshare"
	"berth/session"
)

// app is the name under which the controller of a session is found.
const app = "berth"

// target is what a client needs of a record.
func target(info portshare.Info) control.Target {
	return control.Target{
		Addr:       fmt.Sprintf("127.0.0.1:%d", info.Port),
		CertSHA256: info.CertSHA256,
		Key:        info.Key,
	}
}

// running answers a client of the controller that runs; it starts none.
func (p *program) running() (*control.Client, error) {
	s, err := p.session()
	if err != nil {
		return nil, err
	}
	c := &control.Client{Resolve: func(context.Context) (control.Target, error) { return peek(s) }}
	_, err = peek(s)
	return c, err
}

func peek(s session.Session) (control.Target, error) {
	info, err := portshare.Peek(s, app)
	if err == nil && info.State == portshare.Listening {
		return target(info), nil
	}
	if err != nil && !errors.Is(err, portshare.ErrNoRecord) {
		return control.Target{}, withCode(exitNobody, err)
	}
	return control.Target{}, withCode(exitNobody, fmt.Errorf(
		"no controller runs in this session (%s)\nStart one with `controller run`, or let `controller add FILE` do it.", s))
}

// started answers a client of the controller, and starts one when none runs. The
// caller calls leave once it is done.
func (p *program) started(ctx context.Context) (c *control.Client, leave func(), err error) {
	s, err := p.session()
	if err != nil {
		return nil, nil, err
	}
	if err := p.passConfig(s); err != nil {
		return nil, nil, err
	}
	rec, _, err := portshare.Ensure(ctx, s, app, nil)
	if err != nil {
		return nil, nil, withCode(exitNobody, fmt.Errorf("no controller runs and none could be started: %w", err))
	}
	return &control.Client{Resolve: func(ctx context.Context) (control.Target, error) { return ensure(ctx, s) }},
		func() { _ = rec.Close() }, nil
}

// ensure finds the controller of s, and starts it if need be.
func ensure(ctx context.Context, s session.Session) (control.Target, error) {
	rec, info, err := portshare.Ensure(ctx, s, app, nil)
	if err != nil {
		return control.Target{}, err
	}
	return target(info), rec.Close()
}

// passConfig lets a controller that is started from here use the same
// configuration, wherever it is started.
func (p *program) passConfig(s session.Session) error {
	path, err := configPath(s, p.configFile)
	if err != nil {
		return err
	}
	if err := mustExist(p.configFile, path); err != nil || p.configFile == "" {
		return err
	}
	return os.Setenv("BERTH_CONFIG", path)
}
