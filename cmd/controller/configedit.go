package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// The configuration belongs to the person who wrote it, so it is edited as text:
// comments, order and blank lines stay. Every edit is proved before it is
// written: the new text must parse to exactly the configuration that was meant,
// else the file is left alone and the person is asked to edit it.

var errEditByHand = errors.New("the file is written in a way this command cannot edit safely; please edit it by hand")

// addDestination appends name to the file at path, as the default if asked.
func addDestination(path, name string, d destination, asDefault bool) error {
	return editConfig(path, func(c *config, text string) (string, error) {
		if err := checkName(name); err != nil {
			return "", err
		}
		if _, taken := c.Destinations[name]; taken {
			return "", fmt.Errorf("there is a destination %q already; remove it first", name)
		}
		if c.Destinations == nil {
			c.Destinations = map[string]destination{}
		}
		c.Destinations[name] = d
		text = appendTable(text, name, d)
		if asDefault {
			c.Default = name
			text = setDefault(text, name)
		}
		return text, nil
	})
}

// removeDestination cuts name out of the file at path. A default that pointed
// to it falls back to the local destination.
func removeDestination(path, name string) error {
	return editConfig(path, func(c *config, text string) (string, error) {
		if _, ok := c.Destinations[name]; !ok {
			return "", fmt.Errorf("there is no destination %q in %s", name, path)
		}
		delete(c.Destinations, name)
		text = cutTable(text, name)
		if c.Default == name {
			c.Default = ""
			text = setDefault(text, "")
		}
		return text, nil
	})
}

func editConfig(path string, edit func(c *config, text string) (string, error)) error {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	want, err := parseConfig(string(raw))
	if err != nil {
		return err
	}
	want.Destinations = maps.Clone(want.Destinations)
	text, err := edit(&want, string(raw))
	if err != nil {
		return err
	}
	got, err := parseConfig(text)
	if err != nil {
		return err
	}
	if !sameConfig(got, want) {
		return errEditByHand
	}
	return replaceFile(path, []byte(text))
}

func sameConfig(a, b config) bool {
	if len(a.Destinations) == 0 && len(b.Destinations) == 0 {
		a.Destinations, b.Destinations = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func appendTable(text, name string, d destination) string {
	var table strings.Builder
	_ = toml.NewEncoder(&table).Encode(d) // a struct of strings and a bool always encodes
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if text != "" {
		text += "\n"
	}
	return text + "[destinations." + name + "]\n" + table.String()
}

// cutTable removes the lines from the header of name up to the next header.
// Comments right above that next header belong to it and stay.
func cutTable(text, name string) string {
	lines := strings.SplitAfter(text, "\n")
	start, end := -1, len(lines)
	for i, l := range lines {
		switch l = strings.TrimSpace(l); {
		case start < 0 && l == "[destinations."+name+"]":
			start = i
		case start >= 0 && strings.HasPrefix(l, "["):
			end = i
		}
		if end < len(lines) {
			break
		}
	}
	if start < 0 {
		return text
	}
	for end < len(lines) && end > start+1 && strings.HasPrefix(strings.TrimSpace(lines[end-1]), "#") {
		end--
	}
	if start > 0 && strings.TrimSpace(lines[start-1]) == "" {
		start-- // the blank line that set it apart
	}
	return strings.Join(append(lines[:start:start], lines[end:]...), "")
}

// setDefault writes, replaces or (with "") removes the top-level default.
func setDefault(text, name string) string {
	line := fmt.Sprintf("default = %q\n", name)
	if name == "" {
		line = ""
	}
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "[") {
			break
		}
		if key, _, ok := strings.Cut(l, "="); ok && strings.TrimSpace(key) == "default" {
			lines[i] = line
			return strings.Join(lines, "")
		}
	}
	return line + text
}

// replaceFile puts data at path so that a crash leaves the old or the new file.
// The file is private: destinations tell where somebody's data goes.
func replaceFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".berth-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
