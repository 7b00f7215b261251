// Command testcount turns the stream of go test -json into a short readable one
// and ends with a plain count.
//
//	go test -json ./... | testcount -name linux
//	testcount -name tray -run tools/wine-tray.sh
//	testcount -sum FILE
//
// A program given by -run counts as one test, passed when it exits with 0.
//
// Only leaves are counted: a test with subtests stands for them. A test that
// began and never ended, and a package that failed without a failed test, count
// as failures. With BERTH_REQUIRE_ALL=1 a skip is a failure too, unless -name is
// windows, where some tests are for another system. With BERTH_TALLY=FILE the
// counts are appended to FILE, which -sum adds up.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	name := flag.String("name", "tests", "what the `run` is called in the count")
	sum := flag.String("sum", "", "add up the counts in `FILE` and print them")
	program := flag.String("run", "", "run `PROGRAM` and count it as one test")
	flag.Parse()
	if err := run(*name, *program, *sum); err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(1)
	}
}

func run(name, program, sum string) error {
	if sum != "" {
		return printSum(os.Stdout, sum)
	}
	c, err := counted(name, program)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s\n", name, c)
	if err := tally(os.Getenv("BERTH_TALLY"), c); err != nil {
		return err
	}
	switch {
	case c.Failed > 0:
		return fmt.Errorf("%d of the tests failed", c.Failed)
	case c.Passed == 0:
		return errors.New("no test ran")
	case c.Skipped > 0 && name != "windows" && os.Getenv("BERTH_REQUIRE_ALL") == "1":
		return fmt.Errorf("%d tests were skipped, and BERTH_REQUIRE_ALL=1 wants all of them; next: make deps", c.Skipped)
	}
	return nil
}

func counted(name, program string) (count, error) {
	if program != "" {
		cmd := exec.Command(program)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
			return count{Name: name, Failed: 1}, nil
		}
		return count{Name: name, Passed: 1}, nil
	}
	r := newReport(os.Stdout)
	err := r.read(os.Stdin)
	return r.finish(name), err
}

// count is how many tests ended in which way.
type count struct {
	Name                    string
	Passed, Failed, Skipped int
}

func (c count) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.Passed, c.Failed, c.Skipped)
}

func tally(path string, c count) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(f).Encode(c), f.Close())
}

func printSum(out io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var all count
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var c count
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return err
		}
		fmt.Fprintf(out, "%-8s %s\n", c.Name, c)
		all.Passed += c.Passed
		all.Failed += c.Failed
		all.Skipped += c.Skipped
	}
	fmt.Fprintln(out, all)
	return lines.Err()
}

// event is one line of go test -json (cmd/internal/test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

func (r *report) read(in io.Reader) error {
	dec := json.NewDecoder(bufio.NewReader(in))
	for {
		var e event
		if err := dec.Decode(&e); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("this is not the output of go test -json: %w", err)
		}
		r.add(e)
	}
}
