package transfer

import (
	"errors"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// TestLockedIsNotDamaged opens a store while another program, a backup say, holds
// its database.
func TestLockedIsNotDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, dbName)
	if err := writeStore(path, nil); err != nil {
		t.Fatal(err)
	}
	other, err := bbolt.Open(path, 0o600, boltOptions())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = readStore(dir)
	if err == nil || errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	db, _, err := readStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
}
