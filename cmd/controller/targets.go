package main

import (
	"context"
	"errors"
	"io"
	"sync"

	"berth/control"
	"berth/transfer"
	"berth/transfer/local"
)

// targets turns names of destinations into backends. The configuration is read
// anew each time, so that what `destinations add` wrote counts at once; a
// backend, with its idle connections, is kept as long as its settings are.
type targets struct {
	settings settings
	local    *local.Server
	known    hostKeys

	mu   sync.Mutex // guards open
	open map[string]openTarget
}

type openTarget struct {
	destination
	backend transfer.Backend
}

func (t *targets) config() (config, error) { return loadConfig(t.settings.file) }

// backend answers where a job for name goes.
func (t *targets) backend(name string) (transfer.Backend, error) {
	if name == localName {
		return t.local.Backend(), nil
	}
	c, err := t.config()
	if err != nil {
		return nil, err
	}
	d, ok := c.Destinations[name]
	if !ok {
		_, err := c.resolve(name)
		return nil, permanently(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if o, ok := t.open[name]; ok && o.destination == d {
		return o.backend, nil
	}
	b, err := newBackend(d, t.settings.secrets, t.known)
	if err != nil {
		return nil, permanently(err)
	}
	if t.open == nil {
		t.open = map[string]openTarget{}
	}
	t.open[name] = openTarget{d, b} // the one it replaces may still serve a job: it closes when idle
	return b, nil
}

// permanently marks an error that somebody has to mend before a retry helps.
func permanently(err error) error { return unmended{err} }

// unmended keeps its class out of the text, which is for people.
type unmended struct{ error }

func (e unmended) Unwrap() []error { return []error{e.error, transfer.ErrPermanent} }

// probe tells whether name can be reached and lets this user in.
func (t *targets) probe(ctx context.Context, name string) error {
	b, err := t.backend(name)
	if err != nil {
		return err
	}
	return probe(ctx, b)
}

func probe(ctx context.Context, b transfer.Backend) error {
	p, ok := b.(transfer.Prober)
	if !ok {
		return failure(control.CodeFailed, "Send a small file to it instead.", "this protocol offers no way to test it")
	}
	return p.Probe(ctx)
}

// Close ends idle connections.
func (t *targets) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, o := range t.open {
		if c, ok := o.backend.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
