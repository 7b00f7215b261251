package mutate

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// TestItFindsWhatIsHidden: a fault behind three checks, that only an input kept on
// the way leads to.
func TestItFindsWhatIsHidden(t *testing.T) {
	m := newMutator(7, [][]byte{make([]byte, 12)})
	seen := map[int]bool{}
	for range 5_000_000 {
		b := m.next()
		depth := gates(b)
		if depth == 3 {
			return
		}
		if !seen[depth] {
			seen[depth] = true
			m.keep(b)
		}
	}
	t.Fatalf("not found; depths seen: %v", seen)
}

func gates(b []byte) int {
	switch {
	case len(b) < 12 || binary.LittleEndian.Uint32(b) != 1<<31:
		return 0
	case b[4] != 'x':
		return 1
	case len(b) != 13:
		return 2
	}
	return 3
}

func TestASeedRepeats(t *testing.T) {
	seeds := [][]byte{[]byte("one"), []byte("another")}
	a, b := newMutator(3, seeds), newMutator(3, seeds)
	differ := false
	other := newMutator(4, seeds)
	for range 1000 {
		x := a.next()
		if !bytes.Equal(x, b.next()) {
			t.Fatal("the same seed made other inputs")
		}
		differ = differ || !bytes.Equal(x, other.next())
		if len(x) > maxInput {
			t.Fatalf("%d bytes", len(x))
		}
	}
	if !differ {
		t.Fatal("another seed made the same inputs")
	}
}

func TestAFailureIsKeptAsGoReadsIt(t *testing.T) {
	t.Chdir(t.TempDir())
	path, err := save("FuzzX", []any{[]byte("a\xff\n"), byte(200), "b\"", true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	want := "go test fuzz v1\n[]byte(\"a\\xff\\n\")\nbyte('È')\nstring(\"b\\\"\")\nbool(true)\n"
	if err != nil || string(b) != want || filepath.Dir(path) != filepath.Join("testdata", "fuzz", "FuzzX") {
		t.Fatalf("%s: %s, %v", path, b, err)
	}
	if _, err := save("FuzzX", []any{3.5}); err == nil {
		t.Fatal("a number was kept")
	}
}
