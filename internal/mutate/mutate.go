// Package mutate drives fuzz targets in this very process, millions of times a
// second: go test -fuzz finds its way by coverage but pays for every execution with
// a round to another process. Here a seeded generator mutates known inputs, and what
// a target reports to have reached decides which of them are kept to go on from.
//
// The number of executions comes from BERTH_FUZZ_EXECS, the seed from
// BERTH_FUZZ_SEED; without them a target runs for a moment, with a new seed each
// time. A failure prints the seed and leaves the input under testdata/fuzz, where
// go test runs it again as a case of the fuzz target of that name.
package mutate

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"testing"
	"time"
)

// Target is a fuzz target.
type Target struct {
	// Name of the fuzz target for go test -fuzz, under which failures are kept.
	Name string
	// Seeds are what the mutations start from.
	Seeds [][]byte
	// Run executes one input, which it must neither keep nor change, and reports how
	// far it got: an input with a number that was not seen before is a new seed.
	Run func(t testing.TB, input []byte) (reached uint64)
	// Encode gives the arguments of the fuzz target for an input; nil when the input is its
	// only argument.
	Encode func(input []byte) []any
	// Slow divides the number of executions: a target that runs a whole system
	// is no parser.
	Slow int
}

// Fuzz runs the target under go test -fuzz. It is for targets without Encode.
func (x Target) Fuzz(f *testing.F) {
	for _, s := range x.Seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) { x.Run(t, b) })
}

const (
	fewExecutions = 20_000 // in an ordinary run of the tests
	maxPool       = 4096
	maxInput      = 4096
)

// Loop runs each target as often as asked.
func Loop(t *testing.T, targets ...Target) {
	t.Helper()
	execs := number(t, "BERTH_FUZZ_EXECS", fewExecutions)
	seed := number(t, "BERTH_FUZZ_SEED", uint64(time.Now().UnixNano()))
	for _, x := range targets {
		t.Run(x.Name, func(t *testing.T) {
			n := max(1, execs/uint64(max(1, x.Slow)))
			run := &running{Target: x, t: t, seed: seed, m: newMutator(seed, x.Seeds)}
			run.loop(n)
		})
	}
}

func number(t *testing.T, name string, def uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// running is one target at work.
type running struct {
	Target
	t     *testing.T
	seed  uint64
	m     *mutator
	seen  map[uint64]bool
	input []byte
	done  uint64
}

func (r *running) loop(n uint64) {
	defer r.report()
	began := time.Now()
	r.seen = map[uint64]bool{}
	for _, s := range r.Seeds {
		r.input = s
		r.once()
	}
	for r.done < n && !r.t.Failed() {
		r.input = r.m.next()
		r.once()
	}
	took := time.Since(began)
	r.t.Logf("fuzzed %s: %d executions in %.1f s (%.0f a second), %d results, seed %d",
		r.Name, r.done, took.Seconds(), float64(r.done)/took.Seconds(), len(r.seen), r.seed)
}

func (r *running) once() {
	r.done++
	reached := r.Run(r.t, r.input)
	if !r.seen[reached] && len(r.seen) < maxPool {
		r.seen[reached] = true
		r.m.keep(r.input)
	}
}

// report says which input failed, whether it panicked or not, and keeps it.
func (r *running) report() {
	p := recover()
	if p != nil {
		r.t.Errorf("panic: %v\n%s", p, debug.Stack())
	}
	if !r.t.Failed() {
		return
	}
	args := []any{r.input}
	if r.Encode != nil {
		args = r.Encode(bytes.Clone(r.input))
	}
	r.t.Errorf("execution %d of seed %d failed: input %q", r.done, r.seed, r.input)
	if path, err := save(r.Name, args); err != nil {
		r.t.Error(err)
	} else {
		r.t.Errorf("kept as %s: commit it with the cure", path)
	}
}

// save writes args as a case of the fuzz target called name.
func save(name string, args []any) (string, error) {
	text := "go test fuzz v1\n"
	for _, a := range args {
		switch a := a.(type) {
		case []byte:
			text += fmt.Sprintf("[]byte(%q)\n", a)
		case byte:
			text += fmt.Sprintf("byte(%q)\n", rune(a))
		case string, bool:
			text += fmt.Sprintf("%T(%#v)\n", a, a)
		default:
			return "", fmt.Errorf("an argument of type %T can't be kept", a)
		}
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	path := filepath.Join("testdata", "fuzz", name, fmt.Sprintf("%016x", h.Sum64()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// newSource answers the generator of a seed.
func newSource(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6265727468)) }
