package portshare

import (
	"encoding/binary"
	"sync/atomic"
	"testing"
)

// TestCellIsNeverHalfOld checks the sequence lock alone, without the checksum that
// stands behind it.
func TestCellIsNeverHalfOld(t *testing.T) {
	var words [recordWords]uint32
	c := cell{words: &words}
	var stop atomic.Bool
	defer stop.Store(true)
	go func() {
		for n := uint32(1); !stop.Load(); n++ {
			var r raw
			for i := range recordWords {
				binary.NativeEndian.PutUint32(r[4*i:], n)
			}
			c.store(r)
		}
	}()
	whole := 0
	for range 200_000 {
		r, sequence, ok := c.load()
		if !ok {
			continue
		}
		whole++
		want := binary.NativeEndian.Uint32(r[:])
		for i := range recordWords {
			if got := binary.NativeEndian.Uint32(r[4*i:]); got != want && i != sequenceWord {
				t.Fatalf("word %d is of write %d, word 0 of write %d", i, got, want)
			}
		}
		if want != sequence/2 {
			t.Fatalf("write %d came with sequence %d", want, sequence)
		}
	}
	if whole == 0 {
		t.Error("the reader never met a quiet moment")
	}
}

func TestStoreEndsAWriteWhoseWriterDied(t *testing.T) {
	var words [recordWords]uint32
	c := cell{words: &words}
	atomic.AddUint32(c.sequence(), 1)
	if _, _, ok := c.load(); ok {
		t.Error("a record was read while it was being written")
	}
	if got := c.store(raw{}); got != 2 {
		t.Errorf("sequence %d after the repair", got)
	}
	if _, sequence, ok := c.load(); !ok || sequence != 2 {
		t.Errorf("%v, sequence %d", ok, sequence)
	}
}
