package session

import (
	"os"
	"testing"
)

func TestNobodyOutranksItself(t *testing.T) {
	s, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	if higher, err := s.Outranks(os.Getpid()); err != nil || higher {
		t.Fatalf("%v, %v", higher, err)
	}
	if rank, err := elevated(os.Getpid()); err != nil || s.Elevated() && !rank {
		t.Fatalf("elevated: %v, %v", rank, err)
	}
}
