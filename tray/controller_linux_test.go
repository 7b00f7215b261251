//go:build !tray_gtk

package tray

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/control"
)

// realController is the program itself in a session of its own, built from
// this tree.
type realController struct {
	t   *testing.T
	exe string
	env []string
	run *exec.Cmd
}

func newRealController(t *testing.T, bus string) *realController {
	t.Helper()
	dir := t.TempDir()
	c := &realController{t: t, exe: filepath.Join(dir, "controller")}
	build := exec.Command("go", "build", "-o", c.exe, "berth/cmd/controller")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config := filepath.Join(dir, "config.toml")
	// An upload that lasts long enough to be clicked on.
	if err := os.WriteFile(config, []byte("[limits]\nbytes_per_second = 2000000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 4)
	_, _ = rand.Read(id)
	runtime := filepath.Join(dir, "runtime")
	if err := os.Mkdir(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	c.env = append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS=unix:path="+bus, "BERTH_SESSION=tray-"+hex.EncodeToString(id),
		"BERTH_STATE="+filepath.Join(dir, "state"), "BERTH_CONFIG="+config, "BERTH_RUNTIME="+runtime, "BERTH_KEYRING=off")
	c.run = c.command("run")
	c.run.Stderr = os.Stderr
	if err := c.run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(c.run) })
	eventually(t, "the controller listens", func() bool { return c.command("status").Run() == nil })
	return c
}

func (c *realController) command(args ...string) *exec.Cmd {
	cmd := exec.Command(c.exe, args...)
	cmd.Env = c.env
	return cmd
}

// add hands a file over and answers its job.
func (c *realController) add(name string, size int) control.Job {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), name)
	body := make([]byte, size)
	_, _ = rand.Read(body)
	if err := os.WriteFile(file, body, 0o600); err != nil {
		c.t.Fatal(err)
	}
	before := len(c.jobs())
	if out, err := c.command("add", file).CombinedOutput(); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	jobs := c.jobs()
	if len(jobs) != before+1 {
		c.t.Fatalf("%d jobs after %d", len(jobs), before)
	}
	for _, j := range jobs {
		if j.Name == name {
			return j
		}
	}
	c.t.Fatalf("no job %s in %+v", name, jobs)
	return control.Job{}
}

func (c *realController) jobs() (out []control.Job) {
	c.t.Helper()
	text, err := c.command("list", "--json").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var j control.Job
		if line == "" {
			continue
		}
		if err := json.Unmarshal([]byte(line), &j); err != nil {
			c.t.Fatalf("%v in %s", err, line)
		}
		out = append(out, j)
	}
	return out
}

func (c *realController) job(id string) control.Job {
	for _, j := range c.jobs() {
		if j.ID == id {
			return j
		}
	}
	return control.Job{}
}

// await waits until a job satisfies ok.
func (c *realController) await(id, what string, ok func(control.Job) bool) {
	c.t.Helper()
	eventually(c.t, id+" is "+what, func() bool { return ok(c.job(id)) })
}

// TestRealController steers real uploads from the menu and sees the effect with
// the command line.
func TestRealController(t *testing.T) {
	at := socket(t)
	startBus(t, at)
	panel := newPanel(t, at)
	c := newRealController(t, at)
	icon := panel.icon(t)
	icon.wait("no transfers under way")

	job := c.add("big file.bin", 200_000_000)
	icon.click("big file.bin  —  uploading", "Pause")
	c.await(job.ID, "paused", func(j control.Job) bool { return j.State == "paused" })
	paused := c.job(job.ID).BytesDone
	icon.wait("big file.bin  —  paused")
	icon.click("big file.bin", "Resume")
	c.await(job.ID, "further", func(j control.Job) bool { return j.State == "uploading" && j.BytesDone > paused })
	icon.wait("1 transfer, ")
	icon.click("Cancel all", "Yes, cancel 1 transfer")
	c.await(job.ID, "canceled", func(j control.Job) bool { return j.State == "canceled" })
	icon.wait("big file.bin  —  canceled")

	small := c.add("small.bin", 100_000)
	icon.wait("small.bin  —  done, 97.7 KiB")
	if j := c.job(small.ID); j.State != "done" {
		t.Errorf("%+v", j)
	}
	icon.click("Quit")
	ended := make(chan error, 1)
	go func() { ended <- c.run.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the controller ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the controller does not end")
	}
}
