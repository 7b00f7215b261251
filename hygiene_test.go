//go:build !windows

// These tests read the source, which is the same on every system.

package berth_test

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The patterns are written so that they don't match themselves.
var misplaced = []struct {
	what string
	re   *regexp.Regexp
}{
	{"something left for later", regexp.MustCompile(`\b(TO[D]O|FIX[M]E|XX[X])\b`)},
	{"a path of one machine", regexp.MustCompile(`/(wor[k]|far[m])/|/tmp/bert[h]/|/roo[t]/|/hom[e]/[a-z]+/(go|src)/`)},
	{"the host of a registry", regexp.MustCompile(`(pro[x]y|de[b]|registr[y]|snapsho[t])\.[a-z]+\.(org|com)`)},
	{"a private key", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KE[Y]`)},
	{"a conflict marker", regexp.MustCompile(`(?m)^(<{7}|>{7}) `)},
}

func TestNothingIsMisplaced(t *testing.T) {
	files(t, func(path string) {
		if path == "go.sum" || path == ".git" || strings.HasSuffix(path, "/go.sum") {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return // an image
		}
		for _, m := range misplaced {
			if at := m.re.FindIndex(text); at != nil {
				line := 1 + bytes.Count(text[:at[0]], []byte("\n"))
				t.Errorf("%s:%d: %s: %q", path, line, m.what, text[at[0]:at[1]])
			}
		}
	})
}

// required are modules that this project is built on; a version stands where
// another one is known not to do.
var required = map[string]string{
	"golang.org/x/sys":              "",
	"github.com/gofrs/flock":        "",
	"github.com/kardianos/service":  "",
	"github.com/getlantern/systray": "v1.2.2", // its version list is refused by module proxies
	"fyne.io/systray":               "",
	"go.etcd.io/bbolt":              "",
}

func TestModuleFile(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod := string(text)
	if !strings.HasPrefix(mod, "module berth\n") {
		t.Error("go.mod: the module path is not berth")
	}
	for _, directive := range []string{"\nreplace ", "\nexclude ", "\ntoolchain "} {
		if strings.Contains(mod, directive) {
			t.Errorf("go.mod holds a%s directive: whoever imports berth would not get it", strings.TrimRight(directive[1:], " "))
		}
	}
	for path, version := range required {
		line := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(path) + ` (\S+)$`).FindStringSubmatch(mod)
		switch {
		case line == nil:
			t.Errorf("go.mod does not require %s directly", path)
		case version != "" && line[1] != version:
			t.Errorf("go.mod requires %s %s, want %s", path, line[1], version)
		case strings.Contains(line[1], "-0."):
			t.Errorf("go.mod requires %s at a commit (%s), not at a release", path, line[1])
		}
	}
}

// TestScripts parses every shell script and asks for the safe settings.
func TestScripts(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is missing: only the scripts of Linux and macOS need it")
	}
	files(t, func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(text, []byte("#!/bin/bash")) {
			return
		}
		if !bytes.Contains(text, []byte("\nset -euo pipefail\n")) {
			t.Errorf("%s: set -euo pipefail is missing", path)
		}
		if out, err := exec.Command(bash, "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	})
}
