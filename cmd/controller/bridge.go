package main

import (
	"context"
	"errors"
	"log/slog"

	"berth/control"
	"berth/ipc"
	"berth/transfer"
)

// bridge is the only place where the engine and the queue meet: it takes items
// that companions hold in their memory, through the engine, into packages.
type bridge struct {
	queue *transfer.Queue
	log   *slog.Logger
}

// serve is one item: a header that names its package, then its bytes to their
// end, then one answer.
func (b bridge) serve(ctx context.Context, s *ipc.Session) {
	item, err := b.receive(ctx, s)
	if err != nil {
		b.log.Warn("an item did not arrive", "companion", s.Peer(), "error", err)
		err = apiError(err)
	}
	if err := s.SendBytes(ctx, control.EncodeItemReply(controlItem(item), err)); err != nil && !errors.Is(err, context.Canceled) {
		b.log.Warn("a companion did not take its answer", "companion", s.Peer(), "error", err)
	}
}

func (b bridge) receive(ctx context.Context, s *ipc.Session) (transfer.Item, error) {
	h, err := control.DecodeItemHeader(s.Header())
	if err != nil {
		return transfer.Item{}, err
	}
	p, ok := b.queue.Package(h.Package)
	if !ok {
		return transfer.Item{}, noPackage(h.Package)
	}
	r := s.Reader(ctx)
	defer r.Close() // a refused item isn't read to its end
	return p.AddReader(ctx, h.Name, r)
}
