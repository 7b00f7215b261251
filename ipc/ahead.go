package ipc

import "berth/internal/shm"

// partBytes is as much as a core can have under way to it at a time (16 lines of 64
// bytes): who asks for more waits for the first of it. So memory that will soon be
// written, or read, is asked for part by part, with something else to do between them.
// Nothing is looked at: it may belong to somebody else by then, or be unmapped.
const partBytes = 1 << 10

// part is the piece of b of that number.
func part(b []byte, i int) []byte {
	from := min(len(b), i*partBytes)
	return b[from:min(len(b), from+partBytes)]
}

// fetchPart brings a part here that another core has written, for reading.
func fetchPart(b []byte, i int) { shm.Fetch(part(b, i)) }

// claimPart takes a part from whoever has read it last, for writing.
func claimPart(b []byte, i int) { shm.Claim(part(b, i)) }
