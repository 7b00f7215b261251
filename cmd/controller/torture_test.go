package main

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/control"
	"berth/transfer"
)

// TestTortureCrashUpload kills the controller at random moments of an upload and
// lets the next one go on, on every protocol: the file must be right, and what
// is sent again must stay below one chunk for each kill, by the controller's own
// account and by that of a meter before the server.
//
// BERTH_TORTURE=1 makes it the full size; BERTH_TORTURE_BYTES and
// BERTH_TORTURE_KILLS choose others.
func TestTortureCrashUpload(t *testing.T) {
	bytes, kills := int64(40<<20), int64(3)
	if os.Getenv("BERTH_TORTURE") == "1" {
		bytes, kills = 1<<30, 20
	}
	bytes = number(t, os.Getenv("BERTH_TORTURE_BYTES"), bytes)
	kills = number(t, os.Getenv("BERTH_TORTURE_KILLS"), kills)
	t.Run("local", func(t *testing.T) { tortureUpload(t, "", bytes, int(kills)) })
	for _, kind := range tortureServers() {
		t.Run(kind, func(t *testing.T) { tortureUpload(t, kind, bytes, int(kills)) })
	}
}

// pace makes an upload last long enough for its kills: about 3/4 s for each.
func pace(bytes int64, kills int) int64 { return bytes * 4 / int64(3*(kills+1)) }

func tortureUpload(t *testing.T, kind string, bytes int64, kills int) {
	r := newRig(t)
	limit := fmt.Sprintf("[limits]\nbytes_per_second = %d\n", pace(bytes, kills))
	if err := os.WriteFile(filepath.Join(r.dir, "config.toml"), []byte(limit), 0o600); err != nil {
		t.Fatal(err)
	}
	root, to, m := filepath.Join(r.dir, "state"), localName, (*meter)(nil)
	if kind != "" {
		to = "remote"
		root, m = r.addServer(kind)
	}
	source := filepath.Join(r.dir, "source.bin")
	sum := randomFile(t, source, bytes)
	r.start()
	r.command("", "add", "--to", to, source)
	jobs, err := r.client.List(t.Context(), control.Filter{})
	if err != nil || len(jobs) != 1 {
		t.Fatalf("%v, %v", jobs, err)
	}
	for range kills {
		r.killAtRandom(jobs[0].ID, bytes/int64(kills+1))
	}
	done := r.until(jobs[0].ID, "done", func(j control.Job) bool { return j.State == "done" })
	r.checkTorture(done, sum, root, m, kills)
}

// killAtRandom lets the upload go on for up to step bytes, kills the controller
// and starts the next.
func (r *rig) killAtRandom(id string, step int64) {
	r.t.Helper()
	from := r.until(id, "uploading", func(j control.Job) bool { return j.State == "uploading" })
	goal := min(from.BytesDone+rand.Int64N(step), from.BytesTotal-1)
	r.until(id, "far enough", func(j control.Job) bool {
		return j.State == "uploading" && j.BytesDone >= goal || j.State == "done"
	})
	time.Sleep(time.Duration(rand.Int64N(int64(50 * time.Millisecond)))) // anywhere within a chunk
	r.crash()
	r.start()
}

func (r *rig) checkTorture(j control.Job, sum, root string, m *meter, kills int) {
	r.t.Helper()
	most := int64(kills) * transfer.ChunkSize
	if j.Items[0].SHA256 != sum {
		r.t.Errorf("the job reports %s, the source is %s", j.Items[0].SHA256, sum)
	}
	if got := hashFile(r.t, largestFile(r.t, root)); got != sum {
		r.t.Errorf("the server holds %s, the source is %s", got, sum)
	}
	if j.BytesResent > most {
		r.t.Errorf("%d kills, but %d bytes were sent again, more than %d", kills, j.BytesResent, most)
	}
	line := fmt.Sprintf("%d kills, %d bytes, %d sent again", kills, j.BytesTotal, j.BytesResent)
	if m != nil {
		wire := m.up.Load()
		line += fmt.Sprintf(", %d on the wire (with the protocol's own)", wire)
		if allowed := j.BytesTotal + most + j.BytesTotal/50 + 1<<20; wire > allowed {
			r.t.Errorf("%d bytes went over the wire, more than %d", wire, allowed)
		}
	}
	r.t.Log(line)
}

// largestFile is the delivered one: beside it there are only records.
func largestFile(t *testing.T, root string) string {
	t.Helper()
	var largest string
	var most int64 = -1
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > most {
			largest, most = path, info.Size()
		}
		return err
	})
	if err != nil || largest == "" {
		t.Fatalf("nothing was delivered below %s: %v", root, err)
	}
	return largest
}

// addServer starts a server with a meter before it, as the destination "remote".
func (r *rig) addServer(kind string) (root string, m *meter) {
	r.t.Helper()
	dir := serverDir(r.t)
	s, err := startServerProcess(kind, dir)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(s.stop)
	m, addr := newMeter(r.t, s.Addr)
	target := strings.Replace(destinationURL(s.Server), s.Addr, addr, 1)
	if u, err := url.Parse(target); err == nil && u.User == nil && s.User != "" {
		u.User = url.User(s.User)
		target = u.String()
	}
	r.command(s.Password+"\n", "destinations", "add", "--password-stdin", "remote", target)
	test := []string{"destinations", "test", "remote"}
	if s.HostKey != "" {
		test = append(test, "--accept-host-key", s.HostKey)
	}
	r.command("", test...)
	return s.Root, m
}

// serverDir is a directory that a server's own user can reach.
func serverDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth-server-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
