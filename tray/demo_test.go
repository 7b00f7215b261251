package tray

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"berth/control"
)

// The libraries keep their state in their packages and cannot be started twice
// in a process, so tests on a real desktop run this test binary again as a
// little program with a tray: it takes jobs as JSON lines from standard input,
// obeys the clicks, and prints what it is told.
func TestMain(m *testing.M) {
	if os.Getenv("BERTH_TRAY_DEMO") == "" {
		os.Exit(m.Run())
	}
	if err := demo(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// demo runs until standard input ends. With BERTH_TRAY_LOG it reads the jobs
// from BERTH_TRAY_JOBS, writes to that file and runs until it is told to quit:
// under a Windows desktop there are no pipes.
func demo(in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := newFakeService()
	if name := os.Getenv("BERTH_TRAY_LOG"); name != "" {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		out = f
		if err := json.Unmarshal([]byte(os.Getenv("BERTH_TRAY_JOBS")), &s.jobs); err != nil {
			return err
		}
	} else {
		go func() {
			defer cancel()
			feed(s, in)
		}()
	}
	s.told = func(order string) {
		fmt.Fprintln(out, order)
		if order == "quit" && os.Getenv("BERTH_TRAY_LOG") != "" {
			cancel()
		}
	}
	err := run(ctx, Config{
		Service: s,
		Open:    func(context.Context) error { _, err := fmt.Fprintln(out, "open"); return err },
		Exit:    func() { fmt.Fprintln(out, "exit") },
	}, demoPace())
	if err == nil {
		_, err = fmt.Fprintln(out, "ended")
	}
	return err
}

// demoPace is quick, unless a person wants to see the usual one on a panel.
func demoPace() pace {
	if os.Getenv("BERTH_TRAY_PACE") == "usual" {
		return usualPace()
	}
	return pace{
		slow: 100 * time.Millisecond, quick: 10 * time.Millisecond, after: time.Second, busy: 10 * time.Millisecond,
		search: 50 * time.Millisecond, closing: 5 * time.Second,
	}
}

func feed(s *fakeService, in io.Reader) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var e control.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			panic(err)
		}
		switch e.Type {
		case control.EventJob:
			s.put(*e.Job)
		case control.EventLost:
			s.restart()
		default:
			s.watch <- e
		}
	}
}
