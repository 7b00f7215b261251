//go:build browser

package monitor_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/control"
	"berth/control/monitor"
)

// browser drives Chromium over its debugging pipe: JSON messages ended by NUL on
// descriptors 3 and 4, so that no port is opened and no library is needed.
type browser struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	id      int
	session string
	said    []string // what went wrong in the page
}

func launch(t *testing.T) *browser {
	t.Helper()
	read, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	mine, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "--window-size=900,1000", "about:blank")
	cmd.ExtraFiles = []*os.File{mine, theirs}
	if err := cmd.Start(); err != nil {
		t.Fatalf("chromium is needed: %v", err)
	}
	_, _ = mine.Close(), theirs.Close()
	b := &browser{t: t, to: write, from: bufio.NewReaderSize(read, 1<<20)}
	t.Cleanup(func() {
		_, _ = fmt.Fprintf(write, `{"id":999999,"method":"Browser.close"}`+"\x00")
		_, _ = cmd.Process.Wait()
		_, _ = write.Close(), read.Close()
	})
	_ = read.SetReadDeadline(time.Now().Add(2 * time.Minute)) // a hang is a failure
	return b
}

// do sends a command and answers its result.
func (b *browser) do(method string, params any) map[string]any {
	b.t.Helper()
	got := b.ask(method, params)
	if got["error"] != nil {
		b.t.Fatalf("%s: %v", method, got["error"])
	}
	return got["result"].(map[string]any)
}

// ask sends a command and answers what the browser says to it.
func (b *browser) ask(method string, params any) map[string]any {
	b.t.Helper()
	b.id++
	m := map[string]any{"id": b.id, "method": method, "params": params}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	data, err := json.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(data, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		got := b.next()
		if got["id"] == float64(b.id) {
			return got
		}
	}
}

// next reads a message and notes what the page complains about.
func (b *browser) next() (m map[string]any) {
	b.t.Helper()
	data, err := b.from.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("the browser: %v", err)
	}
	if err := json.Unmarshal(bytes.TrimSuffix(data, []byte{0}), &m); err != nil {
		b.t.Fatal(err)
	}
	switch m["method"] {
	case "Runtime.exceptionThrown", "Log.entryAdded":
		b.said = append(b.said, string(data))
	case "Page.javascriptDialogOpening":
		// A confirmation: yes. Its answer comes among the others and is skipped.
		_, _ = fmt.Fprintf(b.to, `{"id":0,"sessionId":%q,"method":"Page.handleJavaScriptDialog","params":{"accept":true}}`+"\x00", b.session)
	}
	return m
}

// attach opens a tab.
func (b *browser) attach() {
	b.session = ""
	tab := b.do("Target.createTarget", map[string]any{"url": "about:blank"})
	s := b.do("Target.attachToTarget", map[string]any{"targetId": tab["targetId"], "flatten": true})
	b.session = s["sessionId"].(string)
	for _, domain := range []string{"Page.enable", "Runtime.enable", "Log.enable"} {
		b.do(domain, map[string]any{})
	}
}

func (b *browser) open(url string) { b.do("Page.navigate", map[string]any{"url": url}) }

// value evaluates an expression in the page. It is nil when the page went on to
// another address meanwhile.
func (b *browser) value(expression string) any {
	b.t.Helper()
	got := b.ask("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true})
	if err, failed := got["error"].(map[string]any); failed {
		if text, _ := err["message"].(string); strings.Contains(text, "navigated") {
			return nil
		}
		b.t.Fatalf("%s: %v", expression, err)
	}
	r := got["result"].(map[string]any)
	if r["exceptionDetails"] != nil {
		return fmt.Sprint("exception: ", r["exceptionDetails"])
	}
	return r["result"].(map[string]any)["value"]
}

// until waits for an expression to have a value.
func (b *browser) until(expression string, want any) {
	b.t.Helper()
	var got any
	for range 500 {
		if got = b.value(expression); got == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.t.Fatalf("%s is %v, not %v; the page holds\n%v\n%s", expression, got, want, b.value("document.body.innerText"), strings.Join(b.said, "\n"))
}

// shoot keeps a picture when BERTH_SCREENSHOTS names a directory.
func (b *browser) shoot(name string) {
	dir := os.Getenv("BERTH_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := base64.StdEncoding.DecodeString(b.do("Page.captureScreenshot", map[string]any{"format": "png"})["data"].(string))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// queue is a controller with jobs that do what they are told.
type queue struct {
	control.Service // what the page can't reach is nil
	mu              sync.Mutex
	jobs            map[string]control.Job
	order           []string
	changed         chan struct{} // closed and made anew at each change
	did             []string
}

func (q *queue) set(j control.Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, known := q.jobs[j.ID]; !known {
		q.order = append(q.order, j.ID)
	}
	q.jobs[j.ID] = j
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *queue) snapshot() (jobs []control.Job, changed chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range q.order {
		jobs = append(jobs, q.jobs[id])
	}
	return jobs, q.changed
}

func (q *queue) Watch(ctx context.Context) iter.Seq[control.Event] {
	return func(yield func(control.Event) bool) {
		for first := true; ; first = false {
			jobs, changed := q.snapshot()
			for _, j := range jobs {
				if !yield(control.Event{Type: control.EventJob, Job: &j}) {
					return
				}
			}
			if first && !yield(control.Event{Type: control.EventReady}) {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (q *queue) Do(_ context.Context, v control.Verb, s control.Select) (out []control.Outcome, err error) {
	q.mu.Lock()
	q.did = append(q.did, fmt.Sprintf("%s %v %v", v, s.IDs, s.All))
	q.mu.Unlock()
	becomes := map[control.Verb]string{control.Pause: "paused", control.Resume: "uploading", control.Cancel: "canceled", control.Retry: "queued"}[v]
	jobs, _ := q.snapshot()
	for _, j := range jobs {
		if s.All || len(s.IDs) == 1 && s.IDs[0] == j.ID {
			if j.State != "done" && j.State != "canceled" {
				j.State, j.Error = becomes, ""
				q.set(j)
			}
			out = append(out, control.Outcome{ID: j.ID, State: j.State})
		}
	}
	return out, nil
}

func (q *queue) last() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.did) == 0 {
		return ""
	}
	return q.did[len(q.did)-1]
}

func sample() *queue {
	q := &queue{jobs: map[string]control.Job{}, changed: make(chan struct{})}
	job := func(id, name, state string, done, total int64, rate float64, reason string, items ...control.Item) {
		j := control.Job{ID: id, Name: name, State: state, Destination: "local", BytesDone: done, BytesTotal: total, Rate: rate,
			Error: reason, Created: time.Date(2030, 1, 2, 3, 4, len(q.order), 0, time.UTC), Links: []string{}, Items: items}
		for _, it := range items {
			j.Links = append(j.Links, it.Link)
		}
		q.set(j)
	}
	file := func(name string, size int64) control.Item {
		return control.Item{ID: name, Name: name, Size: size, Link: "https://files.example.org/d/mfzwizdfmzwgc3tp/" + name}
	}
	job("d", "Holiday pictures", "done", 734003200, 734003200, 0, "", file("beach.zip", 734003200))
	job("c", "Canceled earlier", "canceled", 1000, 5000, 0, "", control.Item{ID: "x", Name: "x", Size: 5000, Link: "javascript:alert(1)"})
	job("f", "Backup for the branch office", "failed", 1<<30, 9<<30, 0, "The server refused the password of anna@files.example.org.\nSet it anew with `controller destinations add`.", file("backup.tar", 9<<30))
	job("p", "Contract drafts, fourth round", "paused", 300<<20, 800<<20, 0, "", file("draft.docx", 500<<20), file("annex.pdf", 300<<20))
	job("q", "Waiting one", "queued", 0, 52428800, 0, "", file("plan.dwg", 52428800))
	job("x", `<img src=x onerror=alert(1)><script>document.title="broken"</script>`, "verifying", 2048, 2048, 0, "", file("<b>.txt", 2048))
	job("u", "Quarterly figures for the board with quite a long name that has to be wrapped somewhere sensible", "uploading", 1503238553, 4831838208, 47.3*(1<<20), "", file("figures.xlsx", 4831838208))
	return q
}

// TestBrowser goes a person's way: the file opens the page, the page shows and
// commands the jobs, survives a reload, and is shut out by the next controller.
func TestBrowser(t *testing.T) {
	q := sample()
	s, stop, addr := serve(t, q, "127.0.0.1:0")
	b := launch(t)
	b.attach()
	b.open("file://" + openFile(t, s))
	b.until("document.querySelectorAll('.job').length", 7.0)
	b.until("location.href", "http://"+addr+"/")
	b.until("document.title", "Transfers – Berth")
	b.until("document.querySelectorAll('main img, main script, a[href^=\"javascript:\"]').length", 0.0)
	b.until("document.querySelector('.job .figures').textContent", "1.4 GiB of 4.5 GiB · 47.3 MiB/s · 1 min left · to local")
	b.shoot("light")
	b.do("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": "dark"}}})
	b.shoot("dark")
	b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": 360, "height": 900, "deviceScaleFactor": 1, "mobile": true})
	b.shoot("narrow")

	click := func(row int, verb string) string {
		return fmt.Sprintf("document.querySelectorAll('.job')[%d].querySelector('[data-verb=%s]').click()", row, verb)
	}
	state := "document.querySelector('.job .state').textContent"
	b.value(click(0, "pause"))
	b.until(state, "Paused")
	b.value(click(0, "resume"))
	b.until(state, "Uploading")
	b.value(click(0, "cancel"))
	b.until("[...document.querySelectorAll('.job')].filter(j => j.innerText.includes('Quarterly'))[0].querySelector('.state').textContent", "Canceled")
	if got := q.last(); got != "cancel [u] false" {
		t.Errorf("asked for %q", got)
	}
	b.value("document.querySelector('#all [data-verb=pause]').click()")
	b.until("[...document.querySelectorAll('.state')].filter(s => s.textContent === 'Paused').length", 4.0)

	b.do("Page.reload", map[string]any{})
	b.until("document.querySelectorAll('.job').length", 7.0)
	b.until("sessionStorage.length + localStorage.length + document.cookie.length", 1.0)
	if len(b.said) > 0 {
		t.Errorf("the page complained:\n%s", strings.Join(b.said, "\n"))
	}
	stop()
	b.until("document.getElementById('notice').hidden", false)
	serve(t, q, addr) // the next controller on the same port knows nothing of this visit
	b.until("document.body.classList.contains('closed')", true)
	b.shoot("closed")
}

// TestHostilePage: what another site can try from inside the user's browser.
func TestHostilePage(t *testing.T) {
	q := sample()
	s, _, addr := serve(t, q, "127.0.0.1:0")
	hostile := filepath.Join(t.TempDir(), "hostile.html")
	if err := os.WriteFile(hostile, []byte("<!doctype html><title>hostile</title>"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := launch(t)
	b.attach()
	b.open("file://" + hostile)
	b.until("document.title", "hostile")
	for _, try := range []string{
		`fetch('http://ADDR/v1/jobs').then(r => r.status, () => 'refused')`,
		`fetch('http://ADDR/v1/jobs', {headers: {Authorization: 'Bearer x'}}).then(r => r.status, () => 'refused')`,
		`fetch('http://ADDR/v1/jobs/cancel', {method: 'POST', body: '{"all":true}', mode: 'no-cors'}).then(r => r.type === 'opaque' ? 'refused' : r.status, () => 'refused')`,
		`fetch('http://ADDR/v1/jobs/cancel', {method: 'POST', body: '{"all":true}', headers: {'Content-Type': 'application/json'}}).then(r => r.status, () => 'refused')`,
		`new Promise(done => { const w = new WebSocket('ws://ADDR/v1/watch'); w.onopen = () => done('open'); w.onerror = () => done('refused') })`,
		`new Promise(done => { const i = new Image(); i.onload = () => done('seen'); i.onerror = () => done('refused'); i.src = 'http://ADDR/icon.svg' })`,
		`new Promise(done => { const s = document.createElement('script'); s.onload = () => done('run'); s.onerror = () => done('refused'); s.src = 'http://ADDR/app.js'; document.head.append(s) })`,
		`new Promise(done => { const e = new EventSource('http://ADDR/v1/watch'); e.onopen = () => done('open'); e.onerror = () => done('refused') })`,
	} {
		b.until(strings.ReplaceAll(try, "ADDR", addr), "refused")
	}
	b.value(strings.ReplaceAll(`(() => { const f = document.createElement('iframe'); f.name = 'f'; f.src = 'http://ADDR/'; document.body.append(f);
		const form = document.createElement('form'); form.method = 'post'; form.enctype = 'text/plain'; form.target = 'f'; form.action = 'http://ADDR/v1/jobs/cancel';
		const i = document.createElement('input'); i.name = '{"all":true,"x":"'; i.value = '"}'; form.append(i); document.body.append(form); form.submit(); })()`, "ADDR", addr))
	// The page still opens for its owner after all that, and nothing was done.
	b.attach()
	b.open("file://" + openFile(t, s))
	b.until("document.querySelectorAll('.job').length", 7.0)
	if got := q.last(); got != "" {
		t.Errorf("the hostile page did %q", got)
	}
}

func serve(t *testing.T, q *queue, addr string) (s *control.Server, stop func(), at string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	cert, _, err := control.NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	s = control.NewServer(control.ServerConfig{Service: q, Cert: cert, Key: [32]byte{1}, Monitor: monitor.Handler()})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return s, stop, l.Addr().String()
}

func openFile(t *testing.T, s *control.Server) string {
	t.Helper()
	var a control.MonitorAccess
	var err error
	for range 100 { // Serve may have to begin first
		if a, err = s.OpenMonitor(); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	file, err := monitor.OpenFile(t.TempDir(), a)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
