package ipc

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

// The tables of doc.go are what a companion in another language is written from:
// the tests here read them and hold the code to every number.

// docSection is the text of a section of doc.go, without the comment marks.
func docSection(t *testing.T, title string) []string {
	t.Helper()
	b, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "// # "+title+"\n")
	if !found {
		t.Fatalf("doc.go has no section %q", title)
	}
	text, _, _ := strings.Cut(rest, "// # ")
	var lines []string
	for l := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(strings.TrimPrefix(l, "//"), "\n"))
	}
	return lines
}

// docField is one line of a table with offsets; a length of 0 stands for all the rest.
type docField struct {
	off, len int
	text     string
}

var fieldLine = regexp.MustCompile(`^\t {0,3}(\d+)(?: +(\d+)n?)? +(\S.*)$`)

// docFields reads the table under the line "off len" that ends with title; columns
// without it have any title.
func docFields(t *testing.T, section, title string) (all []docField) {
	t.Helper()
	in := false
	for _, l := range docSection(t, section) {
		if strings.HasPrefix(strings.TrimSpace(l), "off") {
			in = strings.HasSuffix(l, title)
			continue
		}
		if strings.TrimSpace(l) == "" && len(all) > 0 && in {
			return all
		}
		if m := fieldLine.FindStringSubmatch(l); in && m != nil {
			off, _ := strconv.Atoi(m[1])
			n, _ := strconv.Atoi(m[2])
			all = append(all, docField{off, n, m[3]})
		}
	}
	if all == nil {
		t.Fatalf("doc.go: no table %q in %q", title, section)
	}
	return all
}

// holds checks that a table of doc.go has these lines, each beginning with that text.
func holds(t *testing.T, name string, got []docField, want ...docField) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d lines in doc.go, %d in the code:\n%+v", name, len(got), len(want), got)
	}
	for i, w := range want {
		if g := got[i]; g.off != w.off || g.len != w.len || !strings.HasPrefix(g.text, w.text) {
			t.Errorf("%s: doc.go says %+v, the code %+v", name, g, w)
		}
	}
}

// says checks that a section has that sentence, whatever its line breaks.
func says(t *testing.T, section, format string, args ...any) {
	t.Helper()
	text := strings.Join(strings.Fields(strings.Join(docSection(t, section), " ")), " ")
	if want := fmt.Sprintf(format, args...); !strings.Contains(text, want) {
		t.Errorf("doc.go, %s, does not say %q", section, want)
	}
}

func quoted(magic string) string { return `magic "` + magic + `"` }

func TestDirectoryIsAsDocumented(t *testing.T) {
	holds(t, "head of the directory", docFields(t, "Directory", "head"),
		docField{dirMagic, len(magicDirectory), quoted(magicDirectory)}, docField{dirVersion, 4, "version"},
		docField{dirCapacity, 4, "capacity"}, docField{dirChanges, 4, "changes"}, docField{dirPID, 4, "pid of the engine"},
		docField{dirLive, 4, "companions registered"}, docField{dirLive + 4, 0, "zero"})
	holds(t, "entry", docFields(t, "Directory", "entry"),
		docField{entrySequence, 4, "sequence"},
		docField{entryState, 4, fmt.Sprintf("state: %d free, %d registered, %d leaving", entryFree, entryRegistered, entryLeaving)},
		docField{entryGeneration, 4, "generation"}, docField{entryPID, 4, "pid"}, docField{entryBlock, 8, "bytes of the block"},
		docField{entrySince, 8, "registered at"}, docField{entrySince + 8, 8, "zero"}, docField{entryLength, 8, "length of the name"},
		docField{entryName, maxName, "name"}, docField{entryName + maxName, 0, "zero"})
	says(t, "Directory", "%d bytes of head, then %d entries of %d bytes.", directoryHead, directoryCapacity, directoryEntry)
}

// TestTheDirectoryIsWrittenWhereItSays reads a directory as another language would.
func TestTheDirectoryIsWrittenWhereItSays(t *testing.T) {
	d, err := newDirectory(4711)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.close() }()
	d.next = 3
	index, _ := d.reserve()
	d.publish(index, "outlook", 815, 1<<33)
	b := d.seg.Bytes()
	e := b[directoryHead+3*directoryEntry:]
	u32 := func(b []byte, off int) uint64 { return uint64(le.Uint32(b[off:])) }
	for what, pair := range map[string][2]uint64{
		"version": {u32(b, 8), Version}, "capacity": {u32(b, 12), 4096}, "changes": {u32(b, 16), 1}, "engine": {u32(b, 20), 4711},
		"registered": {u32(b, 24), 1}, "sequence": {u32(e, 0), 2}, "state": {u32(e, 4), 1}, "generation": {u32(e, 8), 1},
		"pid": {u32(e, 12), 815}, "block": {le.Uint64(e[16:]), 1 << 33}, "length": {le.Uint64(e[40:]), 7},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %d, want %d", what, pair[0], pair[1])
		}
	}
	if string(b[:8]) != "BERTHDIR" || string(e[48:56]) != "outlook\x00" {
		t.Errorf("magic %q, name %q", b[:8], e[48:56])
	}
	d.retire(index, 1)
	d.retire(index, 1)
	if u32(e, 4) != 2 || u32(b, 24) != 0 || u32(b, 16) != 3 {
		t.Errorf("retired: state %d, %d registered, %d changes", u32(e, 4), u32(b, 24), u32(b, 16))
	}
	d.free(index)
	if u32(e, 4) != 0 || u32(b, 24) != 0 || len(readDirectory(b)) != 0 {
		t.Errorf("freed: state %d, %d registered", u32(e, 4), u32(b, 24))
	}
}

func TestLaneIsAsDocumented(t *testing.T) {
	holds(t, "lane", docFields(t, "Lane", "what"),
		docField{0, len(magicLane), quoted(magicLane)}, docField{8, 4, "version"}, docField{12, 4, "slots n"},
		docField{offUpWake, 4, "up wake"}, docField{offUpHead, 4, "up head"}, docField{offUpSpace, 4, "up space"},
		docField{offDownWake, 4, "down wake"}, docField{offDownHead, 4, "down head"}, docField{offDownSpace, 4, "down space"},
		docField{laneHead, recordSize, "up ring"})
	says(t, "Lane", "%d not at all", awake)
	says(t, "Lane", "%d it sleeps in the kernel", asleep)
	says(t, "Lane", "%d by a doorbell frame", doorbell)
	b := make([]byte, 64)
	formatLane(b, 256)
	if string(b[:8]) != magicLane || le.Uint32(b[8:]) != Version || le.Uint32(b[12:]) != 256 {
		t.Errorf("head %x", b[:16])
	}
}

func TestRecordIsAsDocumented(t *testing.T) {
	table := docFields(t, "Records", "len")
	holds(t, "record", table, docField{0, 4, "turn"}, docField{4, 1, "kind"},
		docField{5, 1, fmt.Sprintf("flags: %d request, %d reply, %d end of stream, %d inline, %d whole segment", flagRequest, flagReply, flagEnd, flagInline, flagWhole)},
		docField{6, 2, fmt.Sprintf("length of inline data (0 to %d)", maxInline)}, docField{8, 4, "session"}, docField{12, 4, "argument"},
		docField{16, maxInline, "inline data, or a location"})
	says(t, "Records", "16 4 segment · 20 4 generation · 24 8 offset · 32 8 length")
	says(t, "Records", "inline, %d whole segment, %d trusted", flagWhole, flagTrusted)
	says(t, "Records", "or a list of 1 to %d times 0 4 segment · 4 4 generation · 8 8 offset", maxReleases)
	r := newRecord(0x11, 0x20, 0x22334455, 0x66778899)
	r.setLocation(location{0xa1a2a3a4, 0xb1b2b3b4, 0xc1c2c3c4c5c6c7c8, 0xd1d2d3d4d5d6d7d8})
	// SAFETY: r is recordSize bytes long and outlives b.
	b := unsafe.Slice((*byte)(unsafe.Pointer(&r)), recordSize)
	if b[4] != 0x11 || b[5] != 0x20 || le.Uint32(b[8:]) != 0x22334455 || le.Uint32(b[12:]) != 0x66778899 ||
		le.Uint32(b[16:]) != 0xa1a2a3a4 || le.Uint32(b[20:]) != 0xb1b2b3b4 || le.Uint64(b[24:]) != 0xc1c2c3c4c5c6c7c8 || le.Uint64(b[32:]) != 0xd1d2d3d4d5d6d7d8 {
		t.Errorf("a location lies elsewhere: %x", b)
	}
	r.setInline([]byte("berth"))
	if b[5] != 0x20|flagInline || le.Uint16(b[6:]) != 5 || string(b[16:21]) != "berth" {
		t.Errorf("inline data lie elsewhere: %x", b)
	}
}

// TestAReleaseIsAsDocumented writes and reads a list of every length.
func TestAReleaseIsAsDocumented(t *testing.T) {
	r := newRecord(kindRelease, 0, 0, 0)
	// SAFETY: r is recordSize bytes long and outlives b.
	b := unsafe.Slice((*byte)(unsafe.Pointer(&r)), recordSize)
	for n := 1; n <= maxReleases; n++ {
		r.addRelease(location{uint32(n), uint32(n) << 8, uint64(n) << 40, 77})
		if got := le.Uint16(b[6:]); int(got) != 16*n {
			t.Fatalf("%d releases state a length of %d", n, got)
		}
		at := b[16*n:]
		if le.Uint32(at) != uint32(n) || le.Uint32(at[4:]) != uint32(n)<<8 || le.Uint64(at[8:]) != uint64(n)<<40 {
			t.Fatalf("release %d lies elsewhere: %x", n, b)
		}
		if all, err := r.releases(); err != nil || all != n || r.released(n-1) != (location{uint32(n), uint32(n) << 8, uint64(n) << 40, 0}) {
			t.Fatalf("%d were read of %d, the last as %+v: %v", all, n, r.released(n-1), err)
		}
	}
	for _, bad := range []int{0, 8, 16*maxReleases + 16, 1 << 15} {
		le.PutUint16(b[6:], uint16(bad))
		if _, err := r.releases(); err == nil {
			t.Errorf("a list of %d bytes was taken", bad)
		}
	}
}

func TestLimitsAreAsDocumented(t *testing.T) {
	o := Options{Budget: 1 << 30}.withDefaults()
	if got, want := docNumbers(t, "Limits", "most "), map[string]int{
		"doorbells": idleRings, "frames": frameRate, "unread": maxUnread, "want": 1, "handles": 0, "extents": o.extents,
		"sessions": maxSessions, "unclosed": maxUnclosed, "records": maxBacklog, "bytes": maxOpening,
		"seconds": int(o.patience.Seconds()), "longer": int(nameTimeout.Seconds()),
		"waited": int(openTimeout.Seconds()), "silent": int(o.stall.Seconds()),
		"fetched": maxLent, "kept": maxKept,
	}; !maps.Equal(got, want) {
		t.Errorf("limits: doc.go %v, code %v", got, want)
	}
	if frameRest.Milliseconds() != 1 || o.Share != o.Budget/4*3 {
		t.Errorf("a frame too many takes %v, a companion gets %d of %d bytes", frameRest, o.Share, o.Budget)
	}
	says(t, "Control frames", "of more than %d bytes, gets one of %d for it", floorSize, floorSize)
	says(t, "Limits", "three quarters of the engine's budget")
	says(t, "Limits", "While fewer than %d are left", keptDescriptors)
	says(t, "Limits", "ring when the exchange of wake answered %d", doorbell)
	says(t, "Limits", "close, code %d", closeQuota)
	says(t, "Limits", "refused, code %d", refuseName)
	says(t, "Limits", "is let in: refused, code %d", refuseQuota)
}

func TestCacheIsAsDocumented(t *testing.T) {
	says(t, "Cache", "%q", Controller+"/"+cacheService)
	for _, q := range []cacheRequest{{"retain", "x", 5}, {Op: "fetch", Name: "x"}, {Op: "forget", Name: "x"}, {Op: "list"}} {
		b, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		says(t, "Cache", "%s", b)
	}
	var keys []string
	for f := range reflect.TypeFor[Cached]().Fields() {
		keys = append(keys, f.Tag.Get("json"))
	}
	last := len(keys) - 1
	says(t, "Cache", "objects with %s", strings.Replace(strings.Join(keys[:last], ", "), "since", "since (RFC 3339)", 1)+" and "+keys[last])
	says(t, "Cache", "the last of them with flag %d", flagEnd)
	says(t, "Whole segments", "a message with flag %d at offset 0 of it, and the segment in an extent frame of half %d", flagWhole, passed)
	says(t, "Cache", "Codes: %d nothing is kept under that name, %d not a request, or other bytes than were announced, %d no room",
		closeAddress, closeRefused, closeMemory)
	says(t, "Limits", "answer to its open, in seconds close, code %d", notConnected(context.DeadlineExceeded).code)
	says(t, "Limits", "the oldest goes, and close, code %d while all are being read", closeMemory)
}

var numbered = regexp.MustCompile(`^\t *(\d+) (\w+)  ?`)

// docNumbers reads a table of numbers and names.
func docNumbers(t *testing.T, section, header string) map[string]int {
	t.Helper()
	all := map[string]int{}
	in := false
	for _, l := range docSection(t, section) {
		if in = in || strings.HasPrefix(strings.TrimSpace(l), header); !in {
			continue
		}
		if m := numbered.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[1])
			all[m[2]] = n
		}
	}
	return all
}

func TestNumbersAreAsDocumented(t *testing.T) {
	if got, want := docNumbers(t, "Records", "kind "), map[string]int{
		"open": kindOpen, "opened": kindOpened, "message": kindMessage, "release": kindRelease, "credit": kindCredit,
		"close": kindClose, "starved": kindStarved,
	}; !maps.Equal(got, want) {
		t.Errorf("kinds: doc.go %v, code %v", got, want)
	}
	if got, want := docNumbers(t, "Control frames", "type "), map[string]int{
		"hello": frameHello, "waiting": frameWaiting, "refused": frameRefused, "welcome": frameWelcome, "extent": frameExtent,
		"mapped": frameMapped, "registered": frameRegistered, "want": frameWant, "denied": frameDenied, "forget": frameForget,
		"trim": frameTrim, "doorbell": frameDoorbell, "failure": frameFailure, "watch": frameWatch,
	}; !maps.Equal(got, want) {
		t.Errorf("frames: doc.go %v, code %v", got, want)
	}
	says(t, "Records", "Close codes: %d done, %d no such address, %d refused, %d peer gone, %d quota, %d canceled, %d no memory",
		closeDone, closeAddress, closeRefused, closePeer, closeQuota, closeCanceled, closeMemory)
	says(t, "Control frames", "Codes of refused: %d version, %d name", refuseVersion, refuseName)
	says(t, "Control frames", "%d quota, %d broken protocol", refuseQuota, refuseBroken)
	if want := fmt.Sprintf("half u32 (%d outgoing, %d incoming, %d passed)", outgoing, incoming, passed); !strings.Contains(docBodies(t)["extent"], want) {
		t.Errorf("extent is documented as %q, not with %q", docBodies(t)["extent"], want)
	}
	says(t, "Control frames", "A frame is %d bytes of head and up to %d bytes of body", frameHead, maxFrame)
	says(t, "Addresses", "Names and services are 1 to %d characters", maxName)
}

// docBodies reads what the frames carry: name of the frame to the words of its body.
func docBodies(t *testing.T) map[string]string {
	t.Helper()
	bodies := map[string]string{}
	last, column := "", 0
	for _, l := range docSection(t, "Control frames") {
		if i := strings.Index(l, "handles"); strings.HasPrefix(l, "\ttype") {
			column = i
		}
		m := numbered.FindStringSubmatch(l)
		switch {
		case column == 0 || !strings.HasPrefix(l, "\t") || m == nil && last == "":
			continue
		case m != nil:
			last = m[2]
			_, l, _ = strings.Cut(l, last)
			l = strings.Repeat(" ", len(m[0])-2) + l
		}
		if r := []rune(l); len(r) > column {
			l = string(r[:column-1])
		}
		l = strings.TrimSpace(l)
		for _, to := range []string{"engine ", "companion ", "both "} {
			l = strings.TrimPrefix(l, to)
		}
		bodies[last] = strings.TrimSpace(bodies[last] + " " + strings.TrimSpace(l))
	}
	return bodies
}

var bodyField = regexp.MustCompile(`(?:([a-z' ]+) u(16|32|64)|magic "(\w+)")`)

// parse takes a frame's body apart as doc.go says and answers the fields by name;
// what is left over is under "".
func parse(t *testing.T, words string, b []byte) map[string]uint64 {
	t.Helper()
	all := map[string]uint64{}
	for _, m := range bodyField.FindAllStringSubmatch(words, -1) {
		bits, _ := strconv.Atoi(m[2])
		n := bits / 8
		if m[3] != "" {
			n = len(m[3])
			if !strings.HasPrefix(string(b), m[3]) {
				t.Errorf("%q does not begin with %q", b, m[3])
			}
		}
		if len(b) < n {
			t.Fatalf("%q: %d bytes left for %q", words, len(b), m[0])
		}
		if m[3] == "" {
			var v [8]byte
			copy(v[:], b[:n])
			all[strings.TrimSpace(m[1])] = le.Uint64(v[:])
		}
		b = b[n:]
	}
	all[""] = uint64(len(b))
	return all
}

func TestFramesAreAsDocumented(t *testing.T) {
	holds(t, "head of a frame", docFields(t, "Control frames", "head"),
		docField{0, 1, "type"}, docField{1, 1, "zero"}, docField{2, 2, fmt.Sprintf("number of handles that come with the frame (at most %d)", maxHandles)},
		docField{4, 4, "length of the body"})
	if h := encodeHead(0x11, 0x2233, 0x44556677); h[0] != 0x11 || h[1] != 0 || le.Uint16(h[2:]) != 0x2233 || le.Uint32(h[4:]) != 0x44556677 {
		t.Errorf("head %x", h)
	}
	bodies := docBodies(t)
	w := welcome{version: 1, index: 2, generation: 3, slots: 4, unit: 5, window: 6, directory: 7, lane: 8, largest: 9, whole: 10}
	for name, c := range map[string]struct {
		body []byte
		want map[string]uint64
	}{
		"hello": {hello{version: 1, pid: 2, outgoing: 3, incoming: 4, name: "outlook"}.encode(),
			map[string]uint64{"version": 1, "zero": 0, "pid": 2, "outgoing": 3, "incoming": 4, "name length": 7, "": 7}},
		"refused": {refusal{1, 2, "no"}.encode(), map[string]uint64{"code": 1, "engine's version": 2, "": 2}},
		"welcome": {w.encode(), map[string]uint64{"version": 1, "zero": 0, "directory index": 2, "generation": 3, "slots": 4, "unit": 5,
			"window": 6, "directory bytes": 7, "lane bytes": 8, "largest parcel": 9, "whole": 10, "": 0}},
		"extent": {extentFrame{1, 2, 3}.encode(), map[string]uint64{"segment": 1, "half": 2, "size": 3, "": 0}},
		"mapped": {le.AppendUint32(nil, 7), map[string]uint64{"segment": 7, "": 0}},
		"forget": {le.AppendUint32(nil, 7), map[string]uint64{"segment": 7, "": 0}},
		"want":   {le.AppendUint64(nil, 7), map[string]uint64{"size": 7, "": 0}},
		"denied": {le.AppendUint64(nil, 7), map[string]uint64{"size": 7, "": 0}},
		"watch":  {le.AppendUint32(nil, 7), map[string]uint64{"changes": 7, "": 0}},
	} {
		if got := parse(t, bodies[name], c.body); !maps.Equal(got, c.want) {
			t.Errorf("%s, documented as %q:\n%v, want\n%v", name, bodies[name], got, c.want)
		}
	}
	for _, name := range []string{"waiting", "registered", "trim", "doorbell"} {
		if !strings.HasPrefix(bodies[name], "empty") {
			t.Errorf("%s is documented as %q", name, bodies[name])
		}
	}
	if got := slices.Sorted(maps.Keys(bodies)); len(got) != frameWatch {
		t.Errorf("%d frames have a body in doc.go: %q", len(got), got)
	}
}
