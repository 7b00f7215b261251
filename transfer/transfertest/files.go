package transfertest

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"berth/transfer"
	"berth/transfer/transfertest/servers"
)

// FileFixture is a fixture in a new directory of a server of files whose disk is
// this machine's. path is the template that open configures its backend with;
// empty stands for {id}/{name}.
func FileFixture(t *testing.T, s *servers.Server, path string, open func(dir, password string) transfer.Backend) Fixture {
	name, root, err := s.NewDir()
	if err != nil {
		t.Fatal(err)
	}
	if path == "" {
		path = "{id}/{name}"
	}
	final := func(o transfer.Object) string {
		return filepath.Join(root, strings.NewReplacer("{id}", o.ID, "{name}", o.Name).Replace(path))
	}
	// The handle is the temporary name; a server may see it from another root.
	part := func(h transfer.Handle) string {
		_, below, _ := strings.Cut(string(h), "/"+name+"/")
		return filepath.Join(root, below)
	}
	flat := !strings.Contains(path, "{id}")
	return Fixture{
		Backend:  open(name, s.Password),
		Stranger: open(name, WrongPassword),
		Rewinds:  true,
		Shared:   flat,
		Narrow:   runtime.GOOS == "windows",
		Fetch: func(t *testing.T, o transfer.Object, _ transfer.Handle) []byte {
			p, err := os.ReadFile(final(o))
			if err != nil {
				t.Error(err)
			}
			return p
		},
		Files: func(t *testing.T) []string {
			all, err := servers.Tree(root)
			if err != nil {
				t.Fatal(err)
			}
			return all
		},
		Plant: func(t *testing.T, _ transfer.Object, h transfer.Handle, content []byte) {
			plant(t, s, part(h), content)
		},
		Occupy: func(t *testing.T, o transfer.Object, content []byte) { plant(t, s, final(o), content) },
		Forget: func(t *testing.T, o transfer.Object, h transfer.Handle) {
			gone := part(h)
			if !flat {
				gone = filepath.Dir(gone)
			}
			if err := os.RemoveAll(gone); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// plant writes a file as the server's account would have.
func plant(t *testing.T, s *servers.Server, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Own(name); err != nil {
		t.Fatal(err)
	}
}
