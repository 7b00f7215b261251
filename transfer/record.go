package transfer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// jobRecord is the durable part of a job. Uploading and verifying are stored as
// queued: after a restart they begin again. It is comparable.
type jobRecord struct {
	ID          string
	Sequence    uint64 // order of acceptance
	Name        string
	Destination string
	State       State
	Created     time.Time
	Finished    time.Time
	Error       string
	Refused     bool `json:",omitempty"` // why it failed was ErrUnauthorized
	Items       int  // how many item records belong to it
}

// phase is how far an item has got, durably. Each step is on disk before the
// next one touches the server, so that a restart knows what may be there.
type phase int

const (
	phaseNew      phase = iota // nothing of it is on any server
	phaseBegun                 // Begin may have been called
	phaseOpen                  // Handle is known
	phaseVerified              // proved; Commit may have been called
	phaseDone                  // committed
	phaseStale                 // to be aborted before anything else
)

// itemRecord is the durable part of an item.
type itemRecord struct {
	Object   Object
	Path     string // "" for an item in the spool
	Identity string // of the file at Path
	SHA256   string // hex; of a spooled item from the start, else once it was sent
	Phase    phase
	Handle   Handle
	Resent   int64
	Link     string
}

// spooled reports whether the bytes of an item lie in the spool.
func (r itemRecord) spooled() bool { return r.Path == "" }

// recordVersion is the first byte of every record.
const recordVersion = 1

// encodeRecord frames v: version, CRC-32C of the rest (big endian), JSON.
func encodeRecord(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return frame(body), nil
}

func frame(body []byte) []byte {
	b := append(make([]byte, 0, 5+len(body)), recordVersion)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return append(b, body...)
}

// decodeRecord undoes encodeRecord and refuses whatever it did not write.
func decodeRecord(b []byte, v any) error {
	if len(b) < 5 {
		return errors.New("record is too short")
	}
	if b[0] != recordVersion {
		return fmt.Errorf("record has version %d, this program knows %d", b[0], recordVersion)
	}
	if binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[5:], crc32.MakeTable(crc32.Castagnoli)) {
		return errors.New("record checksum differs")
	}
	return json.Unmarshal(b[5:], v)
}

func decodeJob(key, b []byte) (jobRecord, error) {
	var r jobRecord
	if err := decodeRecord(b, &r); err != nil {
		return r, err
	}
	if r.ID != string(key) || !validID(r.ID) || r.Items < 0 || r.State != r.State.durable() || r.State == "" {
		return r, fmt.Errorf("job record %q contradicts itself", key)
	}
	return r, nil
}

func decodeItem(b []byte) (itemRecord, error) {
	var r itemRecord
	if err := decodeRecord(b, &r); err != nil {
		return r, err
	}
	o := r.Object
	if !validID(o.ID) || o.Size < 0 || !isElement(o.Name) || r.Phase < phaseNew || r.Phase > phaseStale {
		return r, fmt.Errorf("item record %q contradicts itself", o.ID)
	}
	return r, nil
}

// isElement is the least that a stored name must be, whatever version of
// SafeName once made it.
func isElement(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\\x00")
}
