package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Examine reads every store below the state directory dir that no live controller of
// this key uses, and answers how many there are. It changes nothing. The error names
// each one that is damaged ([ErrCorrupt]) or cannot be opened.
func Examine(ctx context.Context, dir, key string) (stores int, err error) {
	h := home{dir: filepath.Join(dir, "stores", key)}
	if _, err := os.Stat(h.dir); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	// Who starts meanwhile waits for the gate, so that no lock of ours is in the way.
	gate := flock.New(filepath.Join(h.dir, "gate"))
	if _, err := gate.TryLockContext(ctx, gatePause); err != nil {
		return 0, fmt.Errorf("waiting for a controller that is starting (%s): %w", gate.Path(), err)
	}
	defer gate.Close()
	found, err := h.free()
	if err != nil {
		return 0, err
	}
	var wrong []error
	for _, f := range found {
		db, _, err := readStore(filepath.Join(h.dir, f.id))
		if err == nil {
			err = db.Close()
		}
		wrong = append(wrong, err, f.lock.Close())
	}
	return len(found), errors.Join(wrong...)
}
