package transfer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"
)

// delivery is one item on its way. Every step that changes the server is
// preceded by a durable note of it; see [phase].
type delivery struct {
	q  *Queue
	j  *job
	n  int
	it *item
	b  Backend

	file *os.File
	rec  *progress
}

// once takes an item from wherever it stands to its end.
func (d *delivery) once(ctx context.Context) error {
	switch d.it.rec.Phase {
	case phaseDone:
		return nil
	case phaseVerified:
		return d.commit(ctx)
	case phaseStale:
		if err := d.q.abort(ctx, d.b, d.j, d.n); err != nil {
			return err
		}
	}
	if err := d.open(); err != nil {
		return err
	}
	defer d.close()
	d.q.setStage(d.j, d.it, sending)
	if err := d.begin(ctx); err != nil {
		return err
	}
	sum, err := d.send(ctx)
	if err != nil {
		return err
	}
	d.q.setStage(d.j, d.it, proving)
	if err := d.prove(ctx, sum); err != nil {
		return err
	}
	err = d.save(func(r *itemRecord) {
		r.Phase, r.SHA256, r.Resent = phaseVerified, hex.EncodeToString(sum), d.rec.last().resent
	})
	if err != nil {
		return err
	}
	return d.commit(ctx)
}

// open opens the source, which must be what was accepted, and the progress record.
func (d *delivery) open() (err error) {
	r := d.it.rec
	if r.spooled() {
		d.file, err = d.openSpool()
	} else {
		var now source
		if d.file, now, err = openSource(r.Path); err == nil && !now.equal(r.source()) {
			d.file.Close()
			err = r.source().changed(r.Path, now)
		}
	}
	if err != nil {
		return err
	}
	if d.rec, err = openProgress(d.q.store.progress(r.Object.ID)); err != nil {
		d.file.Close()
		return diskError("opening a progress record", d.q.cfg.Dir, err)
	}
	return nil
}

func (d *delivery) openSpool() (*os.File, error) {
	o := d.it.rec.Object
	f, now, err := openSource(d.q.store.spool(o.ID))
	if err != nil {
		return nil, advise(ErrSource, err, "the spooled bytes of %q cannot be read (%v). Cancel the job and hand them over again.", o.Name, err)
	}
	if now.size != o.Size {
		f.Close()
		return nil, advise(ErrSource, nil, "the spooled bytes of %q are damaged: %d bytes are there, %d were accepted. Cancel the job and hand them over again.", o.Name, now.size, o.Size)
	}
	return f, nil
}

func (d *delivery) close() {
	d.file.Close()
	d.rec.close()
}

// begin gets a handle, durable before the first byte is sent.
func (d *delivery) begin(ctx context.Context) error {
	if d.it.rec.Phase == phaseOpen {
		return nil
	}
	if d.it.rec.Phase == phaseNew { // begun anew: see noteIntent
		if err := d.save(func(r *itemRecord) { r.Phase = phaseBegun }); err != nil {
			return err
		}
	}
	last := d.rec.last()
	if err := d.rec.reset(last.resent + last.tried); err != nil {
		return diskError("writing a progress record", d.q.cfg.Dir, err)
	}
	call, stop := context.WithTimeout(ctx, d.q.cfg.Stall)
	defer stop()
	h, err := d.b.Begin(call, d.it.rec.Object)
	if err != nil {
		return err
	}
	return d.save(func(r *itemRecord) {
		r.Phase, r.Handle = phaseOpen, h
		r.Link = link(d.b, *r)
	})
}

func (d *delivery) save(edit func(*itemRecord)) error { return d.q.save(d.j, edit, d.n) }

// send uploads what the server does not hold yet and answers the SHA-256 of the
// whole item as it was read.
func (d *delivery) send(ctx context.Context) ([]byte, error) {
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	stalled := func() {
		give(fmt.Errorf("the server accepted nothing for %v", d.q.cfg.Stall))
	}
	opening := time.AfterFunc(d.q.cfg.Stall, stalled)
	defer opening.Stop()
	o, h, last := d.it.rec.Object, d.it.rec.Handle, d.rec.last()
	u, err := d.b.Open(ctx, o, h, min(last.offset, o.Size))
	opening.Stop()
	if err != nil {
		return nil, because(ctx, err)
	}
	sum, err := d.resume(ctx, u.Offset())
	if err == nil {
		d.q.setDone(d.j, d.it, u.Offset())
		last.resent += max(0, last.tried-u.Offset())
		w := limited{watched{u, d.q.cfg.Stall, stalled}, ctx, d.q.limit}
		err = d.stream(ctx, w, u.Offset(), sum, last.resent)
	}
	if err != nil {
		give(nil)
		u.Close() // it only releases
		return nil, because(ctx, err)
	}
	if err := (watched{u, d.q.cfg.Stall, stalled}).Close(); err != nil {
		return nil, because(ctx, err)
	}
	d.q.setDone(d.j, d.it, o.Size)
	return sum.Sum(nil), d.unchanged()
}

// because prefers the reason why a context ended over what followed from it.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// unchanged checks that the source is still what was accepted, now that all of
// it has been read; and that spooled bytes are those that were spooled.
func (d *delivery) unchanged() error {
	r := d.it.rec
	if r.spooled() {
		return nil
	}
	now, err := inspect(d.file)
	if err != nil {
		return sourceError(r.Path, err)
	}
	if !now.equal(r.source()) {
		return r.source().changed(r.Path, now)
	}
	return nil
}

// commit gives the proved item its name. The intent is durable, so that after a
// crash it is asked for again rather than begun anew.
func (d *delivery) commit(ctx context.Context) error {
	call, stop := context.WithTimeout(ctx, d.q.cfg.Stall)
	defer stop()
	r := d.it.rec
	if err := d.b.Commit(call, r.Object, r.Handle); err != nil {
		return err
	}
	d.q.setDone(d.j, d.it, r.Object.Size)
	return nil
}
