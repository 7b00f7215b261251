package peer

import (
	"io"
	"net"
	"time"
)

// Conn is a connection whose peer may be slow but not still: a read or a write
// that moves nothing for its patience fails. Writes of any length are cut into
// pieces, and each piece has the whole patience.
type Conn struct {
	net.Conn
	patience time.Duration // 0 waits for ever
	buf      []byte        // of ReadFrom, kept for the next request on this connection
}

// Watch wraps c. A patience of 0 waits for ever.
func Watch(c net.Conn, patience time.Duration) *Conn {
	return &Conn{Conn: c, patience: patience}
}

// Piece is the size of one write to the kernel: 128 KiB. It was the fastest of
// 32 to 1024 KiB on loopback for every protocol that streams.
const Piece = 128 << 10

func (c *Conn) deadline() time.Time {
	if c.patience == 0 {
		return time.Time{}
	}
	return time.Now().Add(c.patience)
}

func (c *Conn) Read(p []byte) (int, error) {
	if err := c.Conn.SetReadDeadline(c.deadline()); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *Conn) Write(p []byte) (n int, err error) {
	for n < len(p) || len(p) == 0 {
		if err := c.Conn.SetWriteDeadline(c.deadline()); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(p[n:min(len(p), n+Piece)])
		n += m
		if err != nil || len(p) == 0 {
			return n, err
		}
	}
	return n, nil
}

// ReadFrom keeps net/http and io.Copy from their 32 KiB buffers and from
// sendfile, which is slower on loopback. One goroutine at a time may call it.
func (c *Conn) ReadFrom(r io.Reader) (n int64, err error) {
	if c.buf == nil {
		c.buf = make([]byte, Piece)
	}
	for {
		m, rerr := r.Read(c.buf)
		if m > 0 {
			w, werr := c.Write(c.buf[:m])
			n += int64(w)
			if werr != nil {
				return n, werr
			}
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, rerr
		}
	}
}
