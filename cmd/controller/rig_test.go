package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/control"
	"berth/portshare"
	"berth/session"
)

// rig is a session of its own with real programs in it.
type rig struct {
	t       *testing.T
	dir     string
	env     []string
	session session.Session
	client  *control.Client
	running *exec.Cmd
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	config := filepath.Join(r.dir, "config.toml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	name := strings.ToLower(fmt.Sprintf("rig%d-%x", os.Getpid(), rand.Uint32()))
	r.env = append(os.Environ(), "BERTH_SESSION="+name, "BERTH_STATE="+filepath.Join(r.dir, "state"),
		"BERTH_CONFIG="+config, "BERTH_KEYRING=off", "GORACE=atexit_sleep_ms=0")
	var err error
	if r.session, err = session.Named(name); err != nil {
		t.Fatal(err)
	}
	r.client = &control.Client{Resolve: func(context.Context) (control.Target, error) { return peek(r.session) }}
	t.Cleanup(r.end)
	return r
}

func (r *rig) end() {
	r.client.Close()
	if r.running != nil {
		r.crash()
	}
	if dir, err := r.session.RuntimeDir(); err == nil {
		_ = os.RemoveAll(dir)
	}
	if r.t.Failed() {
		logs, _ := filepath.Glob(filepath.Join(r.dir, "state", "*.log"))
		for _, l := range logs {
			text, _ := os.ReadFile(l)
			r.t.Logf("%s\n%s", l, text)
		}
	}
}

// start runs a controller and waits until it listens.
func (r *rig) start() {
	r.t.Helper()
	rec, err := portshare.Join(r.session, app)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rec.Close()
	r.running = exec.Command("controller", "run", "--no-tray")
	r.running.Env = r.env
	said := &bytes.Buffer{}
	r.running.Stderr = said
	if err := r.running.Start(); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	info, err := rec.Listening(ctx)
	if err != nil || info.PID != r.running.Process.Pid {
		r.t.Fatalf("the controller (pid %d) does not listen: %v, %v\n%s", r.running.Process.Pid, info, err, said)
	}
}

// crash kills the controller as kill -9 does.
func (r *rig) crash() {
	_ = r.running.Process.Kill()
	_ = r.running.Wait()
	r.running = nil
}

// command runs the command line with text on its standard input.
func (r *rig) command(stdin string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("controller", args...)
	cmd.Env, cmd.Stdin = r.env, strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("controller %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// until watches the job until it satisfies want, and answers it.
func (r *rig) until(id string, what string, want func(control.Job) bool) control.Job {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	var last control.Job
	for ev := range r.client.Watch(ctx) {
		if ev.Type != control.EventJob || ev.Job.ID != id {
			continue
		}
		last = *ev.Job
		if want(last) {
			return last
		}
		if finished(last) {
			break
		}
	}
	r.t.Fatalf("job %s never became %s: %s, %d of %d bytes, %s", id, what, last.State, last.BytesDone, last.BytesTotal, last.Error)
	return last
}

// randomFile writes n bytes and answers their SHA-256.
func randomFile(t *testing.T, path string, n int64) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8(seed), n); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func hashFile(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
