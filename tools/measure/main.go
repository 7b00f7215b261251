//go:build linux

// Command measure takes the figures of docs/performance.md that need the whole
// program: start to listening, what an idle controller costs, and uploads beside
// curl. It prints Markdown tables. Everything lies in memory (/dev/shm), in a
// session and a state directory of its own.
//
//	go run ./tools/measure [-size BYTES] [-to DESTINATIONS] [-starts N] [-idle D] [start|idle|upload]...
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/portshare"
	"berth/session"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	do := run
	if name := os.Getenv("MEASURE_COMPANION"); name != "" {
		do = func(ctx context.Context) error { return playCompanion(ctx, name) }
	}
	if err := do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	size := flag.Int64("size", 1<<30, "`bytes` of an upload")
	to := flag.String("to", "local,tusd,vsftpd,sshd", "`destinations` of the uploads")
	starts := flag.Int("starts", 20, "how often a controller is started")
	idle := flag.Duration("idle", 20*time.Second, "how long the idle controller is watched")
	flag.Parse()
	what := flag.Args()
	if len(what) == 0 {
		what = []string{"start", "idle", "upload"}
	}
	box, err := newSandbox()
	if err != nil {
		return err
	}
	defer box.remove()
	measures := map[string]func() error{
		"start":  func() error { return box.measureStart(ctx, *starts) },
		"idle":   func() error { return box.measureIdle(ctx, *idle) },
		"upload": func() error { return box.measureUploads(ctx, *size, strings.Split(*to, ",")) },
	}
	for _, name := range what {
		if measures[name] == nil {
			return fmt.Errorf("there is no measure %q; there are start, idle and upload", name)
		}
		if err := measures[name](); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// sandbox is a session of its own with everything it keeps.
type sandbox struct {
	dir     string
	session session.Session
}

func newSandbox() (*sandbox, error) {
	dir, err := os.MkdirTemp("/dev/shm", "berth-measure-")
	if err != nil {
		return nil, err
	}
	// Servers with a user of their own have to get through.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"BERTH_SESSION":   fmt.Sprintf("measure-%d", os.Getpid()),
		"BERTH_RUNTIME":   filepath.Join(dir, "run"),
		"BERTH_STATE":     filepath.Join(dir, "state"),
		"XDG_CONFIG_HOME": filepath.Join(dir, "config"),
	} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	s, err := session.Current()
	return &sandbox{dir: dir, session: s}, err
}

func (b *sandbox) remove() { os.RemoveAll(b.dir) }

// measureStart prints the time from starting the process to the record saying
// that it listens.
func (b *sandbox) measureStart(ctx context.Context, n int) error {
	rec, err := portshare.Join(b.session, "berth")
	if err != nil {
		return err
	}
	defer rec.Close()
	var took []time.Duration
	for range n {
		began := time.Now()
		c, err := b.startController(ctx)
		if err != nil {
			return err
		}
		_, err = rec.Listening(ctx)
		took = append(took, time.Since(began))
		if stopErr := c.stop(); err == nil {
			err = stopErr
		}
		if err != nil {
			return err
		}
		if _, err := rec.Wait(ctx, func(i portshare.Info) bool { return i.State == portshare.Reserved }); err != nil {
			return err
		}
	}
	p50 := median(took)
	fmt.Printf("| start to *listening*, %d starts | p50 | worst |\n|---|---|---|\n", n)
	fmt.Printf("| controller | %.1f ms | %.1f ms |\n\n", ms(p50), ms(took[len(took)-1]))
	return nil
}

// median sorts d and answers its middle.
func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
