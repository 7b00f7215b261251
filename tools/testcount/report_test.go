package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	const (
		run  = `{"Action":"run","Package":"p","Test":"%"}`
		pass = `{"Action":"pass","Package":"p","Test":"%"}`
		fail = `{"Action":"fail","Package":"p","Test":"%"}`
		skip = `{"Action":"skip","Package":"p","Test":"%"}`
		why  = `{"Action":"output","Package":"p","Test":"%","Output":"    x_test.go:9: vsftpd is missing\n"}`
		ok   = `{"Action":"pass","Package":"p"}`
		bad  = `{"Action":"fail","Package":"p"}`
	)
	on := func(name string, lines ...string) string {
		return strings.ReplaceAll(strings.Join(lines, "\n"), "%", name)
	}
	tests := []struct {
		name   string
		stream []string
		want   count
		shows  string
	}{
		{"one passes", []string{on("A", run, pass), ok}, count{Passed: 1}, "pass p"},
		{"a parent stands behind its subtests", []string{on("A", run), on("A/x", run, pass), on("A/y", run, pass), on("A", pass), ok}, count{Passed: 2}, ""},
		{"a failed subtest fails once", []string{on("A", run), on("A/x", run, fail), on("A", fail), bad}, count{Failed: 1}, "---- p A/x"},
		{"a parent fails by itself", []string{on("A", run), on("A/x", run, pass), on("A", why, fail), bad}, count{Passed: 1, Failed: 1}, ""},
		{"a skip is named with its reason", []string{on("A", run, why, skip), ok}, count{Skipped: 1}, "skipped: p A: x_test.go:9: vsftpd is missing"},
		{"a test that never ended failed", []string{on("A", run), bad}, count{Failed: 1}, ""},
		{"a package that never ended failed", []string{on("A", run)}, count{Failed: 1}, ""},
		{"a package that did not build failed", []string{`{"Action":"build-output","ImportPath":"p","Output":"p.go:1: no\n"}`, bad}, count{Failed: 1}, "p.go:1: no"},
		{"a panic outside tests failed", []string{on("A", run, pass), `{"Action":"output","Package":"p","Output":"panic: x\n"}`, bad}, count{Passed: 1, Failed: 1}, "panic: x"},
		{"no test files", []string{`{"Action":"skip","Package":"p"}`}, count{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			r := newReport(&out)
			if err := r.read(strings.NewReader(strings.Join(tt.stream, "\n"))); err != nil {
				t.Fatal(err)
			}
			if got := r.finish(""); got != tt.want {
				t.Errorf("counted %+v, want %+v\n%s", got, tt.want, &out)
			}
			if !strings.Contains(out.String(), tt.shows) {
				t.Errorf("the output lacks %q:\n%s", tt.shows, &out)
			}
		})
	}
}

func TestReadRefusesOtherInput(t *testing.T) {
	if err := newReport(new(bytes.Buffer)).read(strings.NewReader("ok  p  0.1s\n")); err == nil {
		t.Error("plain go test output was taken for JSON")
	}
}

func TestTallyAddsUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tally")
	for _, c := range []count{{"linux", 3, 0, 1}, {"windows", 2, 1, 4}} {
		if err := tally(path, c); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := printSum(&out, path); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "\n5 passed, 1 failed, 5 skipped\n") {
		t.Errorf("the sum reads:\n%s", &out)
	}
}
