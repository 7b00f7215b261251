package transfer

import (
	"context"
	"errors"
	"io"
	"time"
)

// ChunkSize is how many bytes are handed to an [Upload] between two durable
// looks at the progress: 4 MiB. A crash costs at most one chunk sent again.
const ChunkSize = 4 << 20

// Object is one item as a backend sees it. Its fields never change once the
// upload has begun.
type Object struct {
	// ID names the object among all others of the server: 128 random bits in
	// lower-case base32 (26 letters and digits), safe in any path or URL. It is
	// chosen before the first byte is sent, so that a link can be too.
	ID string
	// Name is the name the user knows, already made safe by [SafeName]: one path
	// element, valid UTF-8, no separators and no control characters.
	Name string
	// Size is the number of bytes, exactly.
	Size int64
	// ModTime is the modification time of the source; zero when it has none.
	ModTime time.Time
	// Type is the media type, "application/octet-stream" when unknown.
	Type string
}

// Handle is what a server needs to find an unfinished object again (a tus URL,
// a temporary path). It is opaque to the queue, which makes it durable before
// the first byte is sent. The zero Handle means that nothing was begun.
type Handle string

// Backend uploads objects to one destination. Its methods may be called
// concurrently for different objects, never for the same one. Every call ends
// soon after its context does, even while a peer is stalled.
//
// A backend reports failures with the classes of this package ([ErrPermanent],
// [ErrGone], [ErrUnauthorized], [ErrExists]); anything else is worth another try.
type Backend interface {
	// Begin prepares the server for o and answers the handle to resume by. It
	// may be called again after a crash that lost its answer; what an earlier
	// call left behind is then removed or reused.
	Begin(ctx context.Context, o Object) (Handle, error)

	// Open continues o at the server's own offset, but never beyond limit,
	// which is how much of the prefix the caller will vouch for. A server that
	// holds more is rewound, or, when its protocol can't, the offset stays and
	// the caller checks the prefix. ctx governs the whole life of the Upload.
	// ErrGone means that the server no longer knows the handle. Between Open and
	// the first Write the caller asks SHA256 or ReadAt about the same object.
	Open(ctx context.Context, o Object, h Handle, limit int64) (Upload, error)

	// Commit gives the complete, checked object its final name and makes it
	// available under its link. Calling it again after success succeeds.
	Commit(ctx context.Context, o Object, h Handle) error

	// Abort removes everything that Begin, the uploads and Commit left on the
	// server, also when a crash lost the handle and it is zero. It succeeds when
	// there is nothing left to remove.
	Abort(ctx context.Context, o Object, h Handle) error
}

// Upload is an open, positioned stream into one object. Only one goroutine uses
// it. Write blocks while the server is slow and fails once ctx of Open ended.
type Upload interface {
	// Offset is how many bytes of the object the server was holding when the
	// upload was opened. Two consecutive reads of the server agreed on it.
	Offset() int64
	io.Writer
	// Close flushes and ends the stream; when it succeeds the server holds every
	// byte written. It does not finish the object: Commit does. After a failed
	// write it only releases what it holds.
	Close() error
}

// Hasher is a backend whose server computes checksums. SHA256 answers the hash
// of the first n bytes of the object as the server holds it, or
// errors.ErrUnsupported when this server does not offer it after all. Every
// backend is a Hasher or a [Reader]: the queue refuses to send what nobody can
// prove.
type Hasher interface {
	SHA256(ctx context.Context, o Object, h Handle, n int64) ([32]byte, error)
}

// Reader is a backend that can read an object back, finished or not: the proof
// where a server offers no hash. The caller closes what it gets.
type Reader interface {
	ReadAt(ctx context.Context, o Object, h Handle, offset, n int64) (io.ReadCloser, error)
}

// Linker is a backend that knows the link under which an object can be fetched.
// The handle is zero when Link is asked before Begin; ok is false as long as the
// link is not yet known.
type Linker interface {
	Link(o Object, h Handle) (url string, ok bool)
}

// Prober is a backend that can tell whether its destination is reachable and
// lets this user in, without changing anything there.
type Prober interface {
	Probe(ctx context.Context) error
}

// Error classes that a backend wraps into what it returns.
var (
	// ErrPermanent: trying again cannot help without somebody changing something.
	ErrPermanent = errors.New("permanent failure")
	// ErrUnauthorized: the server refused the credentials or the host key is not
	// trusted. It is permanent.
	ErrUnauthorized = errors.New("not authorized")
	// ErrGone: the server no longer knows the handle; the object starts anew.
	ErrGone = errors.New("upload is gone from the server")
	// ErrExists: the final name is taken and must not be overwritten. It is permanent.
	ErrExists = errors.New("name is taken at the destination")
)
