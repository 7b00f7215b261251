package tus

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // tus servers offer it most often; it guards against faults, not against people
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"

	"berth/transfer"
)

// checksum is a way to prove each block on its way in; the zero value is none.
type checksum struct {
	name string
	make func() hash.Hash
}

// abilities asks the server once what it offers beyond the core.
func (b *Backend) abilities(ctx context.Context) (checksum, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked {
		return b.sum, nil
	}
	resp, err := b.short(ctx, http.MethodOptions, b.endpoint, nil)
	if err != nil {
		return checksum{}, err
	}
	if resp.StatusCode/100 == 2 { // a server needn't answer
		b.sum = offered(resp.Header)
	}
	b.asked = true
	return b.sum, nil
}

// offered is the best checksum that a server knows.
func offered(h http.Header) checksum {
	if !lists(h.Get("Tus-Extension"), "checksum") {
		return checksum{}
	}
	algorithms := h.Get("Tus-Checksum-Algorithm")
	switch {
	case lists(algorithms, "sha256"):
		return checksum{"sha256", sha256.New}
	case lists(algorithms, "sha1"):
		return checksum{"sha1", sha1.New}
	}
	return checksum{}
}

func lists(header, word string) bool {
	for w := range strings.SplitSeq(header, ",") {
		if strings.TrimSpace(w) == word {
			return true
		}
	}
	return false
}

// blocks uploads in PATCHes of a chunk each, whose checksum goes ahead of them:
// the server takes a chunk whole and right, or not at all.
type blocks struct {
	upload
	sum   checksum
	block []byte
}

func (u *blocks) Write(p []byte) (n int, err error) {
	if err := u.admit(p); err != nil {
		return 0, err
	}
	for len(p) > 0 {
		m := min(len(p), transfer.ChunkSize-len(u.block))
		u.block = append(u.block, p[:m]...)
		p, n = p[m:], n+m
		if len(u.block) == transfer.ChunkSize {
			if u.failed = u.flush(); u.failed != nil {
				return n, u.failed
			}
		}
	}
	return n, nil
}

func (u *blocks) flush() error {
	h := u.sum.make()
	_, _ = h.Write(u.block) // never fails
	req, err := u.b.request(u.ctx, http.MethodPatch, u.url, http.Header{
		"Content-Type":    {"application/offset+octet-stream"},
		"Upload-Offset":   {strconv.FormatInt(u.at, 10)},
		"Upload-Checksum": {u.sum.name + " " + base64.StdEncoding.EncodeToString(h.Sum(nil))},
	}, bytes.NewReader(u.block))
	if err != nil {
		return err
	}
	resp, err := u.b.do(u.ctx, req)
	if err != nil {
		return err
	}
	keepMessage(resp)
	if resp.StatusCode/100 != 2 {
		return u.b.failure("take the bytes", resp, true)
	}
	n, err := parseOffset(resp.Header.Get("Upload-Offset"))
	if want := u.at + int64(len(u.block)); err == nil && n != want {
		err = fmt.Errorf("the tus server stopped at %d of %d bytes", n, want)
	}
	u.at += int64(len(u.block))
	u.block = u.block[:0]
	return err
}

// Close sends the last block.
func (u *blocks) Close() error {
	if u.failed == nil && len(u.block) > 0 {
		u.failed = u.flush()
	}
	if u.failed != nil {
		return u.failed
	}
	u.failed = errClosed
	if u.at == u.object.Size && u.at != u.start {
		u.b.seen.Store(u.handle, u.at)
	}
	return nil
}
