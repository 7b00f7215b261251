package transfertest

import (
	"os"
	"path/filepath"
	"testing"

	"berth/transfer"
)

// Overwrite checks a backend that was asked to replace files: two objects of one
// name go, one after the other, into the flat directory root.
func Overwrite(t *testing.T, backend transfer.Backend, root string) {
	b := &bench{Fixture: Fixture{Backend: backend, Fetch: func(t *testing.T, o transfer.Object, _ transfer.Handle) []byte {
		p, err := os.ReadFile(filepath.Join(root, o.Name))
		if err != nil {
			t.Error(err)
		}
		return p
	}}}
	for _, size := range []int{5000, 70, 70, 0} {
		o, content := NewObject("same.txt", size)
		h := b.upload(t, o, content)
		b.check(t, o, h, content)
		b.finish(t, o, h, content) // as after a crash
		b.abortNow(t, o, h)
		b.check(t, o, h, content) // in a shared directory it stays
	}
}
