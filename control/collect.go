package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
)

// PackageService is the engine's service that takes the bytes of items.
const PackageService = "package"

// ItemHeader opens the stream of an item's bytes: which package they belong to
// and the item's name.
type ItemHeader struct {
	Package string `json:"package"`
	Name    string `json:"name"`
}

// itemReply answers such a stream: an item, or why there is none.
type itemReply struct {
	*Item
	Error *Error `json:"error,omitempty"`
}

// EncodeItemHeader is what a companion sends before the bytes.
func EncodeItemHeader(h ItemHeader) ([]byte, error) { return json.Marshal(h) }

// DecodeItemHeader is what the controller's side makes of it.
func DecodeItemHeader(data []byte) (h ItemHeader, err error) {
	if err := json.Unmarshal(data, &h); err != nil || h.Package == "" {
		return ItemHeader{}, usage("the header of an item is not as it should be", `Send {"package":"…","name":"…"}.`)
	}
	return h, nil
}

// EncodeItemReply is the controller's answer after the last byte. A nil err means
// that it is accepted.
func EncodeItemReply(it Item, err error) []byte {
	r := itemReply{Item: &it}
	if err != nil {
		r = itemReply{Error: AsError(err)}
	}
	data, err := json.Marshal(r)
	if err != nil { // strings and integers can always be encoded
		panic(err)
	}
	return data
}

// DecodeItemReply is what the companion's side makes of it.
func DecodeItemReply(data []byte) (Item, error) {
	var r itemReply
	switch err := json.Unmarshal(data, &r); {
	case err != nil:
		return Item{}, &Error{Code: CodeFailed, Message: "the controller's answer about an item makes no sense", Cause: err}
	case r.Error != nil:
		return Item{}, r.Error
	case r.Item == nil || r.ID == "":
		return Item{}, &Error{Code: CodeFailed, Message: "the controller's answer names no item"}
	}
	return *r.Item, nil
}

// Builder collects a package in the controller: files by path, bytes through a
// [Carrier]. Its methods may be called concurrently until Commit or Discard. A
// package lives as long as the controller does; when that was replaced under way
// the calls fail with [CodeNotFound] and the package must be collected again.
type Builder struct {
	client  *Client
	carrier Carrier
	id      string
}

// Collect begins a package. A nil carrier will do as long as every item has a path.
func (c *Client) Collect(ctx context.Context, n NewPackage, carrier Carrier) (*Builder, error) {
	p, err := c.New(ctx, n)
	if err != nil {
		return nil, err
	}
	return &Builder{c, carrier, p.ID}, nil
}

// ID names the package; the job it becomes has the same one.
func (b *Builder) ID() string { return b.id }

// AddFile adds a file by its path. An empty name means the file's own.
func (b *Builder) AddFile(ctx context.Context, path, name string) (Item, error) {
	whole, err := filepath.Abs(path)
	if err != nil {
		return Item{}, usage("the path "+path+" can't be made absolute: "+err.Error(), "Give an absolute path.")
	}
	return b.client.AddFile(ctx, b.id, AddFile{Path: whole, Name: name})
}

// AddReader adds the bytes of r, to its end, under name. They go through shared
// memory; when AddReader returns they are in the controller's hands.
func (b *Builder) AddReader(ctx context.Context, name string, r io.Reader) (Item, error) {
	if b.carrier == nil {
		return Item{}, usage("there is no carrier for bytes from memory", "Give Collect an *ipc.Client.")
	}
	header, err := EncodeItemHeader(ItemHeader{b.id, name})
	if err != nil {
		return Item{}, usage("the item's name can't be encoded", "")
	}
	source := &watchedReader{Reader: r}
	reply, err := b.carrier.Carry(ctx, PackageService, header, source)
	if err != nil && source.err != nil && ctx.Err() == nil {
		return Item{}, &Error{Code: CodeFailed, Message: "the bytes of " + name + " cannot be read: " + source.err.Error(),
			Next: "Check where they come from and try again.", Cause: source.err}
	}
	if err != nil {
		return Item{}, carried(ctx, err)
	}
	return DecodeItemReply(reply)
}

// watchedReader remembers an error of the reader's own: the carrier is not to
// blame for that.
type watchedReader struct {
	io.Reader
	err error
}

func (w *watchedReader) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

func carried(ctx context.Context, err error) error {
	var known *Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &known):
		return known
	}
	return &Error{Code: CodeFailed, Message: "the bytes did not reach the controller: " + err.Error(),
		Next: "Try again; `controller doctor` says whether the engine is well.", Cause: err}
}

// Remove takes an item out again.
func (b *Builder) Remove(ctx context.Context, item string) error {
	return b.client.RemoveItem(ctx, b.id, item)
}

// Items are those collected so far.
func (b *Builder) Items(ctx context.Context) ([]Item, error) {
	p, err := b.client.Package(ctx, b.id)
	return p.Items, err
}

// Commit hands the package over for delivery. When it returns, the controller
// will deliver it whatever happens to this process or to its own.
func (b *Builder) Commit(ctx context.Context) (Job, error) { return b.client.Commit(ctx, b.id) }

// Discard gives the package up.
func (b *Builder) Discard(ctx context.Context) error { return b.client.Discard(ctx, b.id) }
