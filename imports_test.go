//go:build !windows

// These tests read the source, which is the same on every system.

package berth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var systems = []string{"linux", "windows", "darwin"}

// mayImport is the import table: what of Berth each package may import. A
// package that is missing here fails the test, so that a new one is placed
// deliberately. "*" allows everything.
var mayImport = map[string][]string{
	"berth":                               nil,
	"berth/session":                       nil,
	"berth/internal/mutate":               nil,
	"berth/internal/shm":                  {"berth/session"},
	"berth/singleton":                     {"berth/session"},
	"berth/installer":                     {"berth/session"},
	"berth/portshare":                     {"berth/session", "berth/internal/shm", "berth/singleton"},
	"berth/ipc":                           {"berth/session", "berth/internal/shm"},
	"berth/transfer":                      nil,
	"berth/transfer/internal/peer":        {"berth/transfer"},
	"berth/transfer/local":                {"berth/transfer", "berth/transfer/internal/peer", "berth/transfer/tus"},
	"berth/transfer/tus":                  {"berth/transfer", "berth/transfer/internal/peer"},
	"berth/transfer/ftp":                  {"berth/transfer", "berth/transfer/internal/peer"},
	"berth/transfer/sftp":                 {"berth/transfer", "berth/transfer/internal/peer"},
	"berth/transfer/transfertest":         {"berth/transfer", "berth/transfer/transfertest/servers"},
	"berth/transfer/transfertest/servers": nil,
	"berth/transfer/transfertest/serve":   {"berth/transfer/transfertest/servers"},
	"berth/control":                       nil,
	"berth/control/monitor":               {"berth/control"},
	"berth/tray":                          {"berth/control"},
	"berth/cmd/addin-sim":                 {"berth/session", "berth/portshare", "berth/ipc", "berth/control"},
	"berth/cmd/controller":                {"*"},
	"berth/tools/measure":                 {"berth/session", "berth/portshare", "berth/ipc"},
	"berth/tools/testcount":               nil,
}

// mustNotReach names modules that a package must not bring along, however far
// away: what a companion links, it has to trust.
var mustNotReach = map[string][]string{
	"berth/cmd/addin-sim": {"berth/transfer", "go.etcd.io/bbolt", "github.com/tus/tusd", "github.com/jlaffaye/ftp",
		"github.com/pkg/sftp", "fyne.io/systray", "github.com/getlantern/systray", "github.com/zalando/go-keyring"},
	"berth/cmd/controller": {"berth/transfer/transfertest", "testing"},
	"berth/control":        {"berth/transfer", "berth/ipc", "go.etcd.io/bbolt", "github.com/spf13/cobra"},
	"berth/ipc":            {"berth/transfer", "berth/control", "net/http"},
	"berth/session":        {"net/http", "github.com/gofrs/flock"},
	"berth/transfer":       {"berth/ipc", "berth/control", "net/http", "github.com/tus/tusd", "github.com/pkg/sftp", "github.com/jlaffaye/ftp"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
	DepsErrors []struct{ Err string }
}

func goList(t *testing.T, goos string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps,DepsErrors", "./...")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	cmd.Stderr = new(bytes.Buffer)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list for %s: %v\n%s", goos, err, cmd.Stderr)
	}
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// under reports whether path is module or one of its packages.
func under(path, module string) bool {
	return path == module || strings.HasPrefix(path, module+"/")
}

func TestImportTable(t *testing.T) {
	for _, goos := range systems {
		t.Run(goos, func(t *testing.T) {
			for _, p := range goList(t, goos) {
				allowed, known := mayImport[p.ImportPath]
				if !known {
					t.Errorf("%s is not in the import table; next: give it a row in imports_test.go and .golangci.yml", p.ImportPath)
				}
				for _, imp := range p.Imports {
					if under(imp, "berth") && !slices.Contains(allowed, imp) && !slices.Contains(allowed, "*") {
						t.Errorf("%s imports %s, which the import table does not allow", p.ImportPath, imp)
					}
				}
			}
		})
	}
}

func TestReach(t *testing.T) {
	for _, goos := range systems {
		t.Run(goos, func(t *testing.T) {
			for _, p := range goList(t, goos) {
				for _, dep := range p.Deps {
					for _, forbidden := range mustNotReach[p.ImportPath] {
						if under(dep, forbidden) {
							t.Errorf("%s reaches %s", p.ImportPath, dep)
						}
					}
				}
			}
		})
	}
}
