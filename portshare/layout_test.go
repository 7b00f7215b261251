package portshare

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
)

func sample() Info {
	return Info{
		State: Listening, Generation: 0x0102030405060708, Port: 50123, PID: 4711, Start: 0x1112131415161718,
		Endpoint: "/run/user/1000/berth/default/engine-ümlaut.sock", Key: key(0xaa), CertSHA256: key(0xbb), namespace: 0xf0000001,
	}
}

// TestLayout holds the offsets of the package comment against the bytes.
func TestLayout(t *testing.T) {
	r, err := encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	for _, c := range []struct {
		field string
		ok    bool
	}{
		{"magic", string(r[0:8]) == "BERTHREC"},
		{"version", le.Uint32(r[8:]) == 1},
		{"size", le.Uint32(r[12:]) == 224},
		{"state", le.Uint32(r[20:]) == 2},
		{"generation", le.Uint64(r[24:]) == 0x0102030405060708},
		{"port", le.Uint32(r[32:]) == 50123},
		{"pid", le.Uint32(r[36:]) == 4711},
		{"start", le.Uint64(r[40:]) == 0x1112131415161718},
		{"endpoint", bytes.HasPrefix(r[48:152], []byte("/run/user/1000/berth/default/engine-ümlaut.sock\x00"))},
		{"key", bytes.Equal(r[152:184], bytes.Repeat([]byte{0xaa}, 32))},
		{"certificate", bytes.Equal(r[184:216], bytes.Repeat([]byte{0xbb}, 32))},
		{"namespace", le.Uint32(r[216:]) == 0xf0000001},
	} {
		if !c.ok {
			t.Errorf("%s is not where the documentation says", c.field)
		}
	}
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"//	     0     8  magic", "//	    16     4  sequence", "//	    20     4  state", "//	    24     8  generation",
		"//	    32     4  TCP port", "//	    36     4  holder's process id", "//	    40     8  holder's start time",
		"//	    48   104  endpoint", "//	   152    32  session key", "//	   184    32  SHA-256", "//	   216     4  Linux", "//	   220     4  CRC-32",
	} {
		if !bytes.Contains(text, []byte(line)) {
			t.Errorf("the documentation lost its line %q", line)
		}
	}
}

func TestParse(t *testing.T) {
	good, err := encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parse(&good); err != nil || got != sample() {
		t.Fatalf("%v, %v", got, err)
	}
	// seal makes the checksum right again after a change.
	seal := func(change func(r *raw)) func(*raw) {
		return func(r *raw) {
			change(r)
			binary.LittleEndian.PutUint32(r[offChecksum:], checksum(r))
		}
	}
	set := func(offset int, v uint32) func(*raw) {
		return func(r *raw) { binary.LittleEndian.PutUint32(r[offset:], v) }
	}
	for _, c := range []struct {
		name   string
		change func(*raw)
		want   error
	}{
		{"nothing there", func(r *raw) { *r = raw{} }, ErrNotReady},
		{"foreign bytes", func(r *raw) { r[0] = 'X' }, ErrVersion},
		{"version 0", set(offVersion, 0), ErrVersion},
		{"version 2", seal(set(offVersion, 2)), ErrVersion},
		{"another size", seal(set(offSize, 256)), ErrVersion},
		{"one bit of the key", func(r *raw) { r[offKey] ^= 1 }, errCorrupt},
		{"one bit of the checksum", func(r *raw) { r[offChecksum] ^= 1 }, errCorrupt},
		{"unknown state", seal(set(offState, 4)), errCorrupt},
		{"port 0", seal(set(offPort, 0)), errCorrupt},
		{"port 65536", seal(set(offPort, 65536)), errCorrupt},
		{"huge port", seal(set(offPort, 1<<31)), errCorrupt},
		{"no holder", seal(set(offPID, 0)), errCorrupt},
		{"negative holder", seal(set(offPID, 1<<31)), errCorrupt},
		{"reserved with a key", seal(set(offState, 1)), errCorrupt},
		{"empty with a port", seal(set(offState, 0)), errCorrupt},
		{"endpoint not UTF-8", seal(func(r *raw) { r[offEndpoint] = 0xff }), errCorrupt},
		{"endpoint with something behind it", seal(func(r *raw) { r[offKey-1] = 'x' }), errCorrupt},
	} {
		r := good
		c.change(&r)
		if got, err := parse(&r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	full := sample()
	full.Endpoint = strings.Repeat("e", endpointSize)
	r, err := encode(full)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parse(&r); err != nil || got != full {
		t.Errorf("an endpoint of full length: %v, %v", got, err)
	}
}

func TestInfoNeverPrintsItsKey(t *testing.T) {
	i := sample()
	i.Key = key('K')
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("record", "info", i)
	slog.New(slog.NewTextHandler(&log, nil)).Info("record", "info", i)
	texts := []string{i.String(), fmt.Sprintf("%v %+v %#v %s", i, i, i, i), log.String()}
	for _, text := range texts {
		for _, secret := range []string{"KKKK", "75 75", "75, 75", "4b4b", "0x4b"} {
			if strings.Contains(text, secret) {
				t.Errorf("the key shows in %s", text)
			}
		}
	}
	if !strings.Contains(log.String(), "port 50123") {
		t.Errorf("the log does not describe the record: %s", log.String())
	}
}

func FuzzParse(f *testing.F) {
	for _, i := range []Info{{}, sample(), sample().released()} {
		r, err := encode(i)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r[:], true)
		f.Add(r[:], false)
	}
	f.Add([]byte(magic), true)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) { checkParse(t, data, sealed) })
}

func checkParse(t testing.TB, data []byte, sealed bool) {
	var r raw
	copy(r[:], data)
	if sealed { // past the checksum, so that what lies behind it is reached
		copy(r[:], magic)
		binary.LittleEndian.PutUint32(r[offVersion:], layoutVersion)
		binary.LittleEndian.PutUint32(r[offSize:], recordSize)
		binary.LittleEndian.PutUint32(r[offChecksum:], checksum(&r))
	}
	info, err := parse(&r)
	if err != nil {
		return
	}
	again, err := encode(info)
	if err != nil {
		t.Fatalf("%v was read but cannot be written: %v", info, err)
	}
	copy(r[offSequence:], make([]byte, 4))
	if again != r {
		t.Fatalf("read %x, wrote %x", r, again)
	}
}
