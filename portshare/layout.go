package portshare

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"unicode/utf8"
)

// The layout of the package comment.
const (
	magic         = "BERTHREC"
	layoutVersion = 1
	recordSize    = 224
	memorySize    = 4096

	offVersion    = 8
	offSize       = 12
	offSequence   = 16
	offState      = 20
	offGeneration = 24
	offPort       = 32
	offPID        = 36
	offStart      = 40
	offEndpoint   = 48
	offKey        = 152
	offCert       = 184
	offNamespace  = 216
	offChecksum   = 220

	endpointSize = offKey - offEndpoint
)

// errCorrupt: the bytes are not what any writer left on purpose. Whoever has the
// gate may repair them.
var errCorrupt = errors.New("the port record is damaged")

// raw is a copy of the record's bytes. Its sequence field has no meaning.
type raw [recordSize]byte

// encode makes the bytes of info. The endpoint must fit.
func encode(info Info) (raw, error) {
	var r raw
	if err := checkEndpoint(info.Endpoint); err != nil {
		return r, err
	}
	le := binary.LittleEndian
	copy(r[:], magic)
	le.PutUint32(r[offVersion:], layoutVersion)
	le.PutUint32(r[offSize:], recordSize)
	le.PutUint32(r[offState:], uint32(info.State))
	le.PutUint64(r[offGeneration:], info.Generation)
	le.PutUint32(r[offPort:], uint32(info.Port))
	le.PutUint32(r[offPID:], uint32(info.PID))
	le.PutUint64(r[offStart:], info.Start)
	copy(r[offEndpoint:], info.Endpoint)
	copy(r[offKey:], info.Key[:])
	copy(r[offCert:], info.CertSHA256[:])
	le.PutUint32(r[offNamespace:], info.namespace)
	le.PutUint32(r[offChecksum:], checksum(&r))
	return r, nil
}

func checkEndpoint(s string) error {
	if len(s) > endpointSize || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return fmt.Errorf("endpoint %q: must be UTF-8 of at most %d bytes without zero bytes", s, endpointSize)
	}
	return nil
}

func checksum(r *raw) uint32 {
	sum := crc32.ChecksumIEEE(r[:offSequence])
	return crc32.Update(sum, crc32.IEEETable, r[offState:offChecksum])
}

// parse reads bytes that another process wrote. Everything is checked, so that
// later code need not doubt an Info.
func parse(r *raw) (Info, error) {
	if err := checkHeader(r); err != nil {
		return Info{}, err
	}
	if binary.LittleEndian.Uint32(r[offChecksum:]) != checksum(r) {
		return Info{}, fmt.Errorf("%w: wrong checksum", errCorrupt)
	}
	info := fields(r)
	endpoint, rest, _ := bytes.Cut(r[offEndpoint:offKey], []byte{0})
	if len(bytes.Trim(rest, "\x00")) != 0 || !utf8.Valid(endpoint) {
		return Info{}, fmt.Errorf("%w: endpoint %q", errCorrupt, r[offEndpoint:offKey])
	}
	info.Endpoint = string(endpoint)
	return info, checkState(info)
}

// checkHeader tells a record of another version from one that is not there yet.
func checkHeader(r *raw) error {
	le := binary.LittleEndian
	version, size := le.Uint32(r[offVersion:]), le.Uint32(r[offSize:])
	switch {
	case string(r[:len(magic)]) == string(make([]byte, len(magic))):
		return fmt.Errorf("%w: it has not been written yet", ErrNotReady)
	case string(r[:len(magic)]) != magic:
		return fmt.Errorf("%w: it does not begin with %s", ErrVersion, magic)
	case version != layoutVersion || size != recordSize:
		return fmt.Errorf("%w: version %d of %d bytes, this program knows version %d of %d bytes; end the programs of the other version, then start this one again",
			ErrVersion, version, size, layoutVersion, recordSize)
	}
	return nil
}

// fields reads the plain fields without any check.
func fields(r *raw) Info {
	le := binary.LittleEndian
	info := Info{
		State:      State(le.Uint32(r[offState:])),
		Generation: le.Uint64(r[offGeneration:]),
		Port:       int(le.Uint32(r[offPort:])),
		PID:        int(le.Uint32(r[offPID:])),
		Start:      le.Uint64(r[offStart:]),
		namespace:  le.Uint32(r[offNamespace:]),
	}
	copy(info.Key[:], r[offKey:])
	copy(info.CertSHA256[:], r[offCert:])
	return info
}

func checkState(info Info) error {
	port := info.Port >= 1 && info.Port <= 65535
	ok := false
	switch info.State {
	case Empty:
		ok = info == Info{Generation: info.Generation}
	case Reserved:
		ok = port && info == info.released()
	case Listening, Draining:
		ok = port && info.PID > 0 && info.PID <= 1<<31-1
	}
	if !ok {
		return fmt.Errorf("%w: %s", errCorrupt, info)
	}
	return nil
}
