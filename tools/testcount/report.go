package main

import (
	"fmt"
	"io"
	"sort"
	"strings"
)

// report keeps what is needed to show failures whole and everything else short.
type report struct {
	out   io.Writer
	tests map[string]map[string]*test // by package, then by test
	loose map[string][]string         // output of a package outside its tests
	skips []string
	total count
}

type test struct {
	action string // "" while it runs
	parent bool
	output []string
}

func newReport(out io.Writer) *report {
	return &report{out: out, tests: map[string]map[string]*test{}, loose: map[string][]string{}}
}

func (r *report) add(e event) {
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Action == "output" && e.Test == "":
		r.loose[e.Package] = append(r.loose[e.Package], e.Output)
	case e.Action == "output":
		t := r.test(e)
		t.output = append(t.output, e.Output)
	case e.Test != "" && ended(e.Action):
		r.test(e).action = e.Action
	case e.Test == "" && ended(e.Action):
		r.closePackage(e)
	case e.Action == "run":
		r.test(e)
	}
}

func ended(action string) bool { return action == "pass" || action == "fail" || action == "skip" }

func (r *report) test(e event) *test {
	pkg := r.tests[e.Package]
	if pkg == nil {
		pkg = map[string]*test{}
		r.tests[e.Package] = pkg
	}
	if pkg[e.Test] == nil {
		pkg[e.Test] = &test{}
		for name := e.Test; strings.Contains(name, "/"); {
			name = name[:strings.LastIndexByte(name, '/')]
			if p := pkg[name]; p != nil {
				p.parent = true
			}
		}
	}
	return pkg[e.Test]
}

// closePackage counts the tests of a package that has ended and shows what a
// reader must see of it.
func (r *report) closePackage(e event) {
	pkg := r.tests[e.Package]
	delete(r.tests, e.Package)
	var c count
	for _, name := range sorted(pkg) {
		r.countTest(&c, e.Package, name, pkg[name])
	}
	if e.Action == "fail" && c.Failed == 0 {
		c.Failed++
	}
	if c.Failed > 0 {
		fmt.Fprint(r.out, strings.Join(r.loose[e.Package], ""))
	}
	delete(r.loose, e.Package)
	if c != (count{}) {
		fmt.Fprintf(r.out, "%-4s %-32s %7.1fs  %s\n", e.Action, e.Package, e.Elapsed, c)
	}
	r.total.Passed += c.Passed
	r.total.Failed += c.Failed
	r.total.Skipped += c.Skipped
}

func (r *report) countTest(c *count, pkg, name string, t *test) {
	switch {
	case t.action == "fail" || t.action == "":
		fmt.Fprintf(r.out, "---- %s %s\n%s", pkg, name, strings.Join(t.output, ""))
		if !t.parent || t.action == "" || ownFailure(t) {
			c.Failed++
		}
	case t.parent && t.action == "pass":
	case t.action == "skip":
		c.Skipped++
		r.skips = append(r.skips, fmt.Sprintf("%s %s: %s", pkg, name, reason(t.output)))
	default:
		c.Passed++
	}
}

// ownFailure tells a parent that failed by itself from one that merely has a
// failed subtest: it printed something of its own.
func ownFailure(t *test) bool {
	for _, line := range t.output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			return true
		}
	}
	return false
}

// reason is the first thing that the test said, which for most is why it skipped.
func reason(output []string) string {
	const enough = 160 // bytes; some tests say a lot
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		return strings.ToValidUTF8(line[:min(len(line), enough)], "")
	}
	return ""
}

// finish counts packages that never ended and names every skip.
func (r *report) finish(name string) count {
	for _, pkg := range sorted(r.tests) {
		r.closePackage(event{Package: pkg, Action: "fail"})
	}
	for _, s := range r.skips {
		fmt.Fprintf(r.out, "skipped: %s\n", s)
	}
	r.total.Name = name
	return r.total
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
