package portshare

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// conformance is what a record must do, wherever it lies.
var conformance = []struct {
	name string
	run  func(*testing.T, maker)
}{
	{"the first one finds the port and the others see it", testEitherOrder},
	{"publish, drain, withdraw", testStates},
	{"only one holder", testOneHolder},
	{"a dead holder is released", testDeadHolder},
	{"a dying holder is waited for", testDyingHolder},
	{"a reused process id is a dead holder", testReusedPID},
	{"a holder in another namespace is not judged", testForeignNamespace},
	{"a lost port is replaced", testLostPort},
	{"a torn write is repaired", testTornWrite},
	{"damage is repaired", testDamage},
	{"another layout is refused", testOtherVersion},
	{"the last one wipes the memory", testWipe},
	{"waiting ends", testWaitEnds},
	{"bad arguments", testBadArguments},
	{"readers see whole records", testConcurrent},
}

func TestRecordOnHeap(t *testing.T) {
	for _, c := range conformance {
		t.Run(c.name, func(t *testing.T) { c.run(t, onHeap(t)) })
	}
}

func TestRecordInSession(t *testing.T) {
	for _, c := range conformance {
		t.Run(c.name, func(t *testing.T) { c.run(t, inSession(t)) })
	}
}

func info(t *testing.T, r *Record) Info {
	t.Helper()
	i, err := r.Info()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func testEitherOrder(t *testing.T, o maker) {
	companion := o.join(t)
	first := info(t, companion)
	if first.State != Reserved || first.Port < firstDynamic || first.Generation != 0 || first.PID != 0 {
		t.Fatalf("first participant: %v", first)
	}
	if got := info(t, o.join(t)); got != first {
		t.Errorf("second participant: %v, want %v", got, first)
	}
	controller := o.join(t)
	ln, published := serve(t, controller, 1)
	if published.Port != first.Port || published.Generation != 1 {
		t.Errorf("published %v, want port %d", published, first.Port)
	}
	late := o.join(t)
	for _, r := range []*Record{companion, late} {
		got, err := r.Listening(t.Context())
		if err != nil || got != published {
			t.Errorf("%v, %v; want %v", got, err, published)
		}
	}
	go func() {
		if c, err := ln.Accept(); err == nil {
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(first.Port))
	if err != nil {
		t.Fatalf("dial the session's port: %v", err)
	}
	c.Close()
}

func testStates(t *testing.T, o maker) {
	companion, controller := o.join(t), o.join(t)
	wantErr(t, "drain before listening", controller.Drain(), ErrHeld)
	if err := controller.Withdraw(); err != nil {
		t.Errorf("withdraw before listening: %v", err)
	}
	_, err := controller.Publish("e", key(1), key(2))
	wantErr(t, "publish without a listener", err, ErrStale)
	_, published := serve(t, controller, 1)
	again, err := controller.Publish("other", key(3), key(4))
	if err != nil || again.Generation != published.Generation+1 || again.Endpoint != "other" {
		t.Errorf("published again: %v, %v", again, err)
	}
	if got := info(t, companion); got != again {
		t.Errorf("published again: %v, want %v", got, again)
	}
	if err := controller.Drain(); err != nil {
		t.Fatal(err)
	}
	draining := again
	draining.State = Draining
	if got := info(t, companion); got != draining {
		t.Errorf("draining: %v, want %v", got, draining)
	}
	if err := controller.Withdraw(); err != nil {
		t.Fatal(err)
	}
	if got := info(t, companion); got != again.released() || got.Key != [32]byte{} {
		t.Errorf("withdrawn: %v", got)
	}
}

func testOneHolder(t *testing.T, o maker) {
	other := sleeper(t)
	holder, rival := o.join(t, as(other.id)), o.join(t, hasty)
	_, published := serve(t, holder, 1)
	_, err := rival.Listen()
	wantErr(t, "listen beside a holder", err, ErrHeld)
	_, err = rival.Publish("e", key(9), key(9))
	wantErr(t, "publish beside a holder", err, ErrHeld)
	wantErr(t, "drain for a holder", rival.Drain(), ErrHeld)
	wantErr(t, "withdraw for a holder", rival.Withdraw(), ErrHeld)
	if got := info(t, rival); got != published {
		t.Errorf("%v, want %v", got, published)
	}
}

func testDeadHolder(t *testing.T, o maker) {
	victim := sleeper(t)
	holder, companion, second := o.join(t, as(victim.id)), o.join(t), o.join(t)
	ln, published := serve(t, holder, 7)
	if got := info(t, companion); got != published {
		t.Fatalf("%v, want %v", got, published)
	}
	waited := make(chan error, 1)
	go func() {
		got, err := second.Wait(t.Context(), func(i Info) bool { return i.State == Reserved })
		if err == nil && got != published.released() {
			err = fmt.Errorf("released to %v", got)
		}
		waited <- err
	}()
	holder.loosen() // its locks go with the victim
	victim.kill()
	ln.Close()
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	if bytes := o.memory(companion).copy(); bytesContain(bytes, key(7)) || bytesContain(bytes, key(8)) {
		t.Error("the dead controller's key is still in the memory")
	}
	if _, next := serve(t, companion, 5); next.Generation != published.Generation+1 || next.Port != published.Port {
		t.Errorf("the next controller published %v after %v", next, published)
	}
}

// testDyingHolder: a killed process loses its locks before it counts as dead, so the
// next controller may meet it alive.
func testDyingHolder(t *testing.T, o maker) {
	victim := sleeper(t)
	holder, next := o.join(t, as(victim.id)), o.join(t)
	ln, published := serve(t, holder, 1)
	defer ln.Close()
	_, err := next.takeOver()
	wantErr(t, "while it lives", err, ErrHeld)
	listening := make(chan error, 1)
	go func() {
		ln, err := next.Listen()
		if err == nil {
			err = ln.Close()
		}
		listening <- err
	}()
	holder.loosen() // its locks go before it counts as dead
	victim.kill()
	if err := <-listening; err != nil {
		t.Fatalf("after the end of %v: %v", published, err)
	}
}

func bytesContain(r raw, k [32]byte) bool { return bytes.Contains(r[:], k[:]) }

func testReusedPID(t *testing.T, o maker) {
	alive := sleeper(t)
	earlier := alive.id
	earlier.start--
	holder, companion := o.join(t, as(earlier)), o.join(t)
	ln, err := holder.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := holder.Publish("e", key(1), key(2)); err != nil {
		t.Fatal(err)
	}
	if got := info(t, companion); got.State != Reserved {
		t.Errorf("%v: its holder's id belongs to a later process", got)
	}
}

func testForeignNamespace(t *testing.T, o maker) {
	far := process{pid: 1<<30 - 1, start: 1, namespace: 42}
	holder, companion := o.join(t, as(far)), o.join(t)
	_, published := serve(t, holder, 1)
	if got := info(t, companion); got != published {
		t.Errorf("%v, want %v: nobody here can see whether it lives", got, published)
	}
	if runtime.GOOS != "linux" {
		return // there is one namespace
	}
	holder.loosen() // as its death does
	if got := info(t, companion); got.State != Reserved || got.Port != published.Port {
		t.Errorf("%v after the holder let go", got)
	}
}

func testLostPort(t *testing.T, o maker) {
	companion := o.join(t)
	before := info(t, companion)
	// A port that somebody else listens on, as after a theft on systems without
	// reservation.
	thief, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	stolen := before
	stolen.Port = thief.Addr().(*net.TCPAddr).Port
	if err := scribble(companion, stolen); err != nil {
		t.Fatal(err)
	}
	controller := o.join(t)
	ln, published := serve(t, controller, 1)
	if published.Port == stolen.Port || published.Generation != before.Generation+2 {
		t.Errorf("after the loss of port %d: %v", stolen.Port, published)
	}
	if got := ln.Addr().(*net.TCPAddr).Port; got != published.Port {
		t.Errorf("listens on %d, published %v", got, published)
	}
	if got, err := companion.Listening(t.Context()); err != nil || got != published {
		t.Errorf("the companion sees %v, %v", got, err)
	}
}

// scribble writes info as a participant of another make would.
func scribble(r *Record, info Info) error {
	unlock, err := r.place.gate()
	if err != nil {
		return err
	}
	defer unlock()
	return r.write(info)
}

func testTornWrite(t *testing.T, o maker) {
	companion, second := o.join(t), o.join(t)
	before := info(t, companion)
	c := o.memory(companion)
	// A writer that died after some of its words, the sequence odd.
	atomic.AddUint32(c.sequence(), 1)
	atomic.StoreUint32(&c.words[offState/4], uint32(Listening))
	atomic.StoreUint32(&c.words[offKey/4], 0xdeadbeef)
	got, err := second.Wait(t.Context(), func(i Info) bool { return i.State == Reserved })
	if err != nil || got != before {
		t.Errorf("%v, %v; want %v", got, err, before)
	}
	if got := info(t, o.join(t)); got != before {
		t.Errorf("a new participant sees %v, want %v", got, before)
	}
	if atomic.LoadUint32(c.sequence())%2 != 0 {
		t.Error("the sequence is still odd")
	}
}

func testDamage(t *testing.T, o maker) {
	companion := o.join(t)
	before := info(t, companion)
	c := o.memory(companion)
	atomic.StoreUint32(&c.words[offKey/4], 0xdeadbeef)
	if got := info(t, companion); got != before {
		t.Errorf("%v, want %v", got, before)
	}
	for i := range c.words {
		if i != sequenceWord && i >= offState/4 {
			atomic.StoreUint32(&c.words[i], 0xffffffff)
		}
	}
	got := info(t, companion)
	if got.State != Reserved || got.Port < firstDynamic || got.Port > lastDynamic {
		t.Errorf("from nothing but ones: %v", got)
	}
}

func testOtherVersion(t *testing.T, o maker) {
	companion := o.join(t)
	c := o.memory(companion)
	atomic.StoreUint32(&c.words[offVersion/4], 2)
	_, err := companion.Info()
	wantErr(t, "info", err, ErrVersion)
	if err == nil || !strings.Contains(err.Error(), "version 2") || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("%v does not name both versions", err)
	}
	_, err = o.open()
	wantErr(t, "join", err, ErrVersion)
	if got := atomic.LoadUint32(&c.words[offVersion/4]); got != 2 {
		t.Errorf("the other version's record was overwritten with version %d", got)
	}
	atomic.StoreUint32(&c.words[offVersion/4], layoutVersion)
	if _, err := companion.Info(); err != nil {
		t.Error(err)
	}
}

func testWipe(t *testing.T, o maker) {
	first, second := o.join(t), o.join(t)
	serve(t, second, 1)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if got := info(t, first); got.State != Reserved || got.Generation != 1 {
		t.Errorf("after the controller left: %v", got)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := first.Info()
	wantErr(t, "info after close", err, ErrClosed)
	_, err = first.Publish("e", key(1), key(2))
	wantErr(t, "publish after close", err, ErrClosed)
	fresh := info(t, o.join(t))
	if fresh.State != Reserved || fresh.Generation != 0 {
		t.Errorf("after everybody left: %v", fresh)
	}
}

func testWaitEnds(t *testing.T, o maker) {
	r := o.join(t)
	ctx, cancel := context.WithCancel(t.Context())
	ends := make(chan error, 2)
	wait := func(ctx context.Context) {
		_, err := r.Listening(ctx)
		ends <- err
	}
	go wait(ctx)
	cancel()
	wantErr(t, "cancelled", <-ends, context.Canceled)
	go wait(t.Context())
	go wait(t.Context())
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "closed", <-ends, ErrClosed)
	wantErr(t, "closed", <-ends, ErrClosed)
}

func testBadArguments(t *testing.T, o maker) {
	r := o.join(t)
	for _, endpoint := range []string{strings.Repeat("x", 105), "zero\x00byte", "\xff"} {
		if _, err := r.Publish(endpoint, key(1), key(2)); err == nil || errors.Is(err, ErrStale) {
			t.Errorf("endpoint %q: %v", endpoint, err)
		}
	}
	for _, k := range [][2][32]byte{{{}, key(1)}, {key(1), {}}} {
		if _, err := r.Publish("e", k[0], k[1]); err == nil || errors.Is(err, ErrStale) {
			t.Errorf("zero key or hash: %v", err)
		}
	}
	for _, p := range [][2]int{{0, 10}, {10, 9}, {1, 65536}, {-5, 5}} {
		if r, err := o.open(Ports(p[0], p[1])); err == nil {
			t.Errorf("ports %v were accepted", p)
			r.Close()
		}
	}
}

// testConcurrent lets two controllers take turns while readers check that what
// belongs together arrives together.
func testConcurrent(t *testing.T, o maker) {
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	var group sync.WaitGroup
	writer := o.join(t)
	ln, _ := serve(t, writer, 1)
	defer ln.Close()
	for range 3 {
		r := o.join(t)
		group.Go(func() { checkWhole(t, ctx, r) })
	}
	for ctx.Err() == nil {
		i := info(t, writer)
		if err := publishWhole(writer, i.Generation+1); err != nil {
			t.Error(err)
			break
		}
	}
	group.Wait()
}

// publishWhole publishes words that all depend on the generation.
func publishWhole(r *Record, generation uint64) error {
	var k, c [32]byte
	for i := 0; i < 32; i += 8 {
		binary.LittleEndian.PutUint64(k[i:], generation)
		binary.LittleEndian.PutUint64(c[i:], ^generation)
	}
	_, err := r.Publish(strconv.FormatUint(generation, 10), k, c)
	return err
}

func checkWhole(t *testing.T, ctx context.Context, r *Record) {
	last := uint64(1)
	for {
		got, err := r.Wait(ctx, func(i Info) bool { return i.Generation > last })
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		last = got.Generation
		for i := 0; i < 32; i += 8 {
			k, c := binary.LittleEndian.Uint64(got.Key[i:]), binary.LittleEndian.Uint64(got.CertSHA256[i:])
			if k != last || c != ^last || got.Endpoint != strconv.FormatUint(last, 10) {
				t.Errorf("generation %d came with %x, %x, %q", last, got.Key, got.CertSHA256, got.Endpoint)
				return
			}
		}
	}
}
