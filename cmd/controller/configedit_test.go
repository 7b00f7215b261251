package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const commented = `# where the big files go
default = "work" # everybody uses it

[limits]
concurrency = 2

# the team's server
[destinations.work]
url = "sftp://ann@files.example:22/drop" # port 22 is open
path = "{id}/{name}"

# for the archive
[destinations.archive]
url = "ftp://archive.example/in"
`

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEditKeepsCommentsAndOrder(t *testing.T) {
	path := writeConfig(t, commented)
	if err := addDestination(path, "new", destination{URL: "tus+https://t.example/files/"}, false); err != nil {
		t.Fatal(err)
	}
	text := readText(t, path)
	if !strings.HasPrefix(text, commented) {
		t.Fatalf("what stood there before was changed:\n%s", text)
	}
	if err := removeDestination(path, "new"); err != nil {
		t.Fatal(err)
	}
	if got := readText(t, path); got != commented {
		t.Fatalf("adding and removing did not come back to the start:\n%s", got)
	}
}

func TestRemoveTheDefault(t *testing.T) {
	path := writeConfig(t, commented)
	if err := removeDestination(path, "work"); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.defaultName() != localName || len(c.Destinations) != 1 || c.Limits.Concurrency != 2 {
		t.Fatalf("left over: %+v", c)
	}
	if text := readText(t, path); !strings.Contains(text, "# for the archive") || strings.Contains(text, "port 22") {
		t.Fatalf("the wrong comments went:\n%s", text)
	}
}

func TestAddAsDefaultToNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "config.toml")
	if err := addDestination(path, "work", destination{URL: "sftp://h/d", Link: "https://h/{id}/{name}"}, true); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Default != "work" || c.Destinations["work"].Link == "" {
		t.Fatalf("got %+v", c)
	}
	if info, _ := os.Stat(path); info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Fatalf("the file is open to others: %v", info.Mode())
	}
}

// A file whose shape the text edit does not understand is refused, unchanged.
func TestEditRefusesWhatItCannotProve(t *testing.T) {
	inline := "destinations = { work = { url = \"sftp://h/d\" } }\n"
	tricky := "[destinations.work]\nurl = \"sftp://h/d\"\npath = \"\"\"\n[destinations.fake]\n\"\"\"\n"
	for name, text := range map[string]string{"inline": inline, "multi-line": tricky} {
		t.Run(name, func(t *testing.T) {
			path := writeConfig(t, text)
			if err := removeDestination(path, "work"); err == nil {
				t.Fatal("an unprovable edit went through")
			}
			if got := readText(t, path); got != text {
				t.Fatalf("the file was changed:\n%s", got)
			}
		})
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`dfault = "x"`:                                     "dfault",
		`default = "x"`:                                    `"x" is not among`,
		"[destinations.local]\nurl='ftp://h/'":             "taken",
		"[destinations.'a b']\nurl='ftp://h/'":             "cannot be called",
		"[destinations.a]\nurl='ftp://u:secret@h/'":        "password does not belong",
		"[destinations.a]\nurl='http://h/'":                "not known",
		"[destinations.a]\nurl='ftp:///x'":                 "no host",
		"[destinations.a]\nurl='ftp://h/?x=1'":             "query",
		"[destinations.a]\nurl='ftp://h/%zz:secret'":       "cannot be read",
		"[destinations.a]\nurl='ftp://h/'\npassword='pw1'": "password",
		"[limits]\nconcurrency=-1":                         "below zero",
	} {
		_, err := parseConfig(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  got %v, want %q", text, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "pw1")) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func FuzzEditConfig(f *testing.F) {
	f.Add(commented, "work")
	f.Add("[destinations.a]\nurl='ftp://h/'\n[destinations.ab]\nurl='ftp://h/'", "a")
	f.Fuzz(func(t *testing.T, text, name string) {
		before, err := parseConfig(text)
		if err != nil {
			t.Skip()
		}
		path := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if removeDestination(path, name) != nil {
			return
		}
		after, err := loadConfig(path)
		if err != nil || len(after.Destinations) != len(before.Destinations)-1 || after.has(name) && name != localName {
			t.Fatalf("removing %q left %+v, %v", name, after, err)
		}
	})
}
