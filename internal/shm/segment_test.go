package shm

import (
	"errors"
	"testing"
)

func TestSegmentsAreZeroedAndShared(t *testing.T) {
	s, err := NewSegment(100_001)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if len(s.Bytes()) != s.Size() || s.Size() < 100_001 {
		t.Fatalf("%d bytes, size %d", len(s.Bytes()), s.Size())
	}
	for i, b := range s.Bytes() {
		if b != 0 {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
	other, err := OpenSegment(duplicate(t, s), s.Size(), ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	s.Bytes()[99_999] = 42
	if other.Bytes()[99_999] != 42 {
		t.Fatal("not shared")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatalf("a second Close: %v", err)
	}
}

func TestSegmentRefusesImpossibleSizes(t *testing.T) {
	for _, n := range []int{0, -1, maxSegment + 1} {
		if _, err := NewSegment(n); !errors.Is(err, ErrSegment) {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestHeapSegmentIsAligned(t *testing.T) {
	s := HeapSegment(10)
	if s.Size()%4096 != 0 || len(s.Bytes()) != s.Size() {
		t.Fatal(s.Size())
	}
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
