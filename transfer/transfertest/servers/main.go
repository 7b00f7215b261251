package servers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
)

// serveEnv makes a test program be a server instead.
const serveEnv = "BERTH_TEST_SERVE"

// Main is for TestMain: it runs the tests, or the server that a test of this
// very program asked for with [TUSProcess].
func Main(m *testing.M) {
	if kind, dir, ok := strings.Cut(os.Getenv(serveEnv), ":"); ok {
		if err := Serve(kind, dir, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Serve starts a server of a kind below dir, prints it as one line of JSON and
// keeps it until standard input ends or the program is interrupted.
func Serve(kind, dir string, out io.Writer) error {
	start, ok := Kinds()[kind]
	if !ok {
		return fmt.Errorf("there is no server %q: want tusd, vsftpd or sshd", kind)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := start(ctx, dir)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(s); err != nil {
		return errors.Join(err, s.Stop())
	}
	eof := make(chan struct{})
	go func() {
		defer close(eof)
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is all that matters
	}()
	select {
	case <-ctx.Done():
	case <-eof:
	}
	return s.Stop()
}

// TUSProcess runs [TUS] in a process of its own: this test program once more,
// whose TestMain has to call [Main]. A stock tusd interrupts a request when
// another one wants its upload, which a test with the race detector can't host.
func TUSProcess(_ context.Context, dir string) (*Server, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), serveEnv+"=tusd:"+dir, "GORACE=exitcode=0 atexit_sleep_ms=0") // tusd's races aren't ours
	dieWithParent(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	log := &output{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{log: log}
	s.stop = func() error {
		in.Close()
		return cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(line), s)
	}
	if err != nil {
		return nil, fmt.Errorf("%s as tusd: %w: %s", exe, errors.Join(err, s.stop()), s.Log())
	}
	return s, nil
}
