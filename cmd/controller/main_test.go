package main

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"berth/portshare"
	"berth/session"
)

// A start that fails half-way must give the store back: otherwise the next one in
// this process finds it taken and makes another.
func TestFailedStartGivesTheStoreBack(t *testing.T) {
	s, err := session.Named(fmt.Sprintf("fail%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	if dir, err := s.RuntimeDir(); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	dir := t.TempDir()
	for range 2 {
		rec, err := portshare.Join(s, app)
		if err != nil {
			t.Fatal(err)
		}
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		cfg := settings{stateDir: dir}
		err = serve(t.Context(), s, rec, cfg, slog.New(slog.DiscardHandler), func(*service) { t.Error("it came up") })
		if err == nil {
			t.Fatal("it served without a record")
		}
	}
	var stores []string
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".db" {
			stores = append(stores, path)
		}
		return err
	})
	if err != nil || len(stores) != 1 {
		t.Errorf("stores %q, %v", stores, err)
	}
}
