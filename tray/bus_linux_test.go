//go:build !tray_gtk

package tray

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/control"

	"github.com/godbus/dbus/v5"
)

// patience is how long a test waits for what must come; it is no measure of
// speed.
const patience = 30 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// startBus runs a message bus of the test's own at a fixed address.
func startBus(t *testing.T, socket string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is not installed: make deps")
	}
	cmd := exec.Command(path, "--session", "--nofork", "--nopidfile", "--print-address=1", "--address=unix:path="+socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(cmd) })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal("the bus did not start: ", err)
	}
	return cmd
}

// stop ends a program at once; ending it twice does no harm.
func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// panel is the place for tray icons on a bus: it knows one icon.
type panel struct {
	conn *dbus.Conn
	came chan string // bus names of registered icons
}

func newPanel(t *testing.T, socket string) *panel {
	t.Helper()
	conn, err := dbus.Connect("unix:path=" + socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &panel{conn: conn, came: make(chan string, 8)}
	if err := conn.Export(p, "/StatusNotifierWatcher", watcherName); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(watcherName, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return p
}

// RegisterStatusNotifierItem is called by an icon.
func (p *panel) RegisterStatusNotifierItem(_ string, from dbus.Sender) *dbus.Error {
	p.came <- string(from)
	return nil
}

func (p *panel) icon(t *testing.T) *icon {
	t.Helper()
	select {
	case name := <-p.came:
		return &icon{t: t, conn: p.conn, name: name}
	case <-time.After(patience):
		t.Fatal("no icon came")
		return nil
	}
}

// icon is a registered tray icon, seen and clicked as a panel does it.
type icon struct {
	t    *testing.T
	conn *dbus.Conn
	name string
}

// node is a line of the menu.
type node struct {
	id       int32
	label    string
	visible  bool
	enabled  bool
	children []node
}

type layout struct {
	ID    int32
	Props map[string]dbus.Variant
	Kids  []dbus.Variant
}

func (i *icon) menu() (node, error) {
	var revision uint32
	var root layout
	err := i.conn.Object(i.name, "/StatusNotifierItem/menu").
		Call("com.canonical.dbusmenu.GetLayout", 0, int32(0), int32(-1), []string{}).Store(&revision, &root)
	if err != nil {
		return node{}, err
	}
	return parse(root)
}

func parse(l layout) (node, error) {
	n := node{id: l.ID, visible: true, enabled: true}
	for key, to := range map[string]any{"label": &n.label, "visible": &n.visible, "enabled": &n.enabled} {
		if v, ok := l.Props[key]; ok {
			if err := v.Store(to); err != nil {
				return n, err
			}
		}
	}
	for _, v := range l.Kids {
		var kid layout
		if err := dbus.Store([]any{v.Value()}, &kid); err != nil {
			return n, err
		}
		k, err := parse(kid)
		if err != nil {
			return n, err
		}
		n.children = append(n.children, k)
	}
	return n, nil
}

// find follows labels downwards; a label may be the beginning of one.
func (n node) find(labels ...string) (node, bool) {
	for _, k := range n.children {
		if !k.visible || !strings.HasPrefix(k.label, labels[0]) {
			continue
		}
		if len(labels) == 1 {
			return k, true
		}
		return k.find(labels[1:]...)
	}
	return node{}, false
}

func (n node) labels() (out []string) {
	for _, k := range n.children {
		if k.visible && k.label != "" {
			out = append(out, k.label)
		}
	}
	return out
}

// wait waits for a visible line.
func (i *icon) wait(labels ...string) (found node) {
	i.t.Helper()
	var last []string
	defer func() {
		if i.t.Failed() {
			i.t.Logf("the menu was %q", last)
		}
	}()
	eventually(i.t, strings.Join(labels, " > "), func() bool {
		root, err := i.menu()
		last = root.labels()
		if err != nil {
			last = []string{err.Error()}
			return false
		}
		var ok bool
		found, ok = root.find(labels...)
		return ok
	})
	return found
}

// gone waits until no visible line begins with the label.
func (i *icon) gone(label string) {
	i.t.Helper()
	eventually(i.t, "no "+label, func() bool {
		root, err := i.menu()
		_, ok := root.find(label)
		return err == nil && !ok
	})
}

// click clicks on a line that must be enabled.
func (i *icon) click(labels ...string) {
	i.t.Helper()
	var n node
	eventually(i.t, strings.Join(labels, " > ")+" enabled", func() bool { n = i.wait(labels...); return n.enabled })
	i.event("clicked", n.id)
}

// event tells what a person does with the menu.
func (i *icon) event(what string, line int32) {
	i.t.Helper()
	call := i.conn.Object(i.name, "/StatusNotifierItem/menu").
		Call("com.canonical.dbusmenu.Event", dbus.FlagNoReplyExpected, line, what, dbus.MakeVariant(""), uint32(0))
	if call.Err != nil {
		i.t.Fatal(call.Err)
	}
}

// disabled waits until a visible line takes no clicks. A change of the menu
// arrives line by line.
func (i *icon) disabled(labels ...string) {
	i.t.Helper()
	eventually(i.t, strings.Join(labels, " > ")+" disabled", func() bool { return !i.wait(labels...).enabled })
}

func (i *icon) property(name string) dbus.Variant {
	i.t.Helper()
	v, err := i.conn.Object(i.name, "/StatusNotifierItem").GetProperty("org.kde.StatusNotifierItem." + name)
	if err != nil {
		i.t.Fatal(err)
	}
	return v
}

// program is the demo, running.
type program struct {
	t     *testing.T
	in    io.WriteCloser
	lines chan string
	ended chan error
}

func startDemo(t *testing.T, address string) *program {
	t.Helper()
	races := filepath.Join(t.TempDir(), "race")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BERTH_TRAY_DEMO=1", "DBUS_SESSION_BUS_ADDRESS="+address,
		"GORACE=exitcode=0 log_path="+races)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, in: in, lines: make(chan string, 64), ended: make(chan error, 1)}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		p.ended <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		reportRaces(t, races)
	})
	return p
}

// harmlessRaces are those inside the libraries that this package has to live
// with (fyne.io/systray v1.12.2, godbus v5.2.4), by what both sides do:
//   - The menu's revision is counted up outside the lock under which GetLayout
//     reads it, once, 150 ms after the first GetLayout. A panel gets the number
//     before or after, and asks again.
//   - A new icon overwrites the pixels of the old one in place, while a panel
//     may be reading them; it then gets a mixture, and a signal to read again.
//     All icons have the same size, so only colors are at stake.
var harmlessRaces = [][2]string{
	{"fyne.io/systray.refresh()", "fyne.io/systray.(*tray).GetLayout()"},
	{"fyne.io/systray.SetIcon()", "dbus/v5.(*encoder).encode()"},
}

// reportRaces fails the test for every other data race of the demo.
func reportRaces(t *testing.T, log string) {
	files, _ := filepath.Glob(log + ".*")
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		for _, report := range strings.Split(string(text), "==================") {
			known := slices.ContainsFunc(harmlessRaces, func(sides [2]string) bool {
				return strings.Contains(report, sides[0]) && strings.Contains(report, sides[1])
			})
			if strings.Contains(report, "DATA RACE") && !known {
				t.Error(report)
			}
		}
	}
}

func (p *program) tell(e control.Event) {
	p.t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) expect(line string) {
	p.t.Helper()
	select {
	case got := <-p.lines:
		if got != line {
			p.t.Fatalf("the controller was told %q, want %q", got, line)
		}
	case <-time.After(patience):
		p.t.Fatalf("the controller was never told %q", line)
	}
}

// end closes its input and expects it to leave cleanly.
func (p *program) end() {
	p.t.Helper()
	if err := p.in.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		p.t.Fatal(err)
	}
	p.expect("ended")
	select {
	case err := <-p.ended:
		if err != nil {
			p.t.Fatal(err)
		}
	case <-time.After(patience):
		p.t.Fatal("the program does not end")
	}
}

func socket(t *testing.T) string { return filepath.Join(t.TempDir(), "bus") }

// TestMenuOnTheBus does everything a person can do with the menu.
func TestMenuOnTheBus(t *testing.T) {
	at := socket(t)
	startBus(t, at)
	panel := newPanel(t, at)
	p := startDemo(t, "unix:path="+at)
	icon := panel.icon(t)
	if id := icon.property("Id").Value(); id != "Berth" {
		t.Errorf("the icon's id is %v", id)
	}
	icon.wait("no transfers under way")

	under := job(1, "uploading")
	under.Name = "half_done_&.zip"
	p.tell(event(under))
	p.tell(event(job(2, "queued")))
	icon.wait("half__done__&.zip  —  uploading, 50 %") // an underscore is doubled on the wire
	icon.wait("file2  —  waiting")

	under.BytesDone = 75
	p.tell(event(under))
	icon.wait("half__done__&.zip  —  uploading, 75 %")

	icon.click("half", "Pause")
	p.expect("pause j1")
	icon.wait("half__done__&.zip  —  paused at 75 %")
	icon.click("half", "Resume")
	p.expect("resume j1")
	icon.wait("half__done__&.zip  —  waiting, 75 %")
	icon.click("half", "Cancel")
	p.expect("cancel j1")
	icon.wait("half__done__&.zip  —  canceled")
	icon.click("half", "Retry")
	p.expect("retry j1")

	icon.click("Pause all")
	p.expect("pause all")
	icon.wait("2 paused")
	icon.click("Resume all")
	p.expect("resume all")
	icon.click("Cancel all", "Yes, cancel 2 transfers")
	p.expect("cancel all")
	icon.wait("no transfers under way")
	icon.disabled("Cancel all")

	p.tell(control.Event{Type: "removed", ID: "j2"})
	icon.gone("file2")
	icon.click("Open the monitor")
	p.expect("open")
	icon.click("Quit")
	p.expect("quit")
	p.end()
	eventually(t, "the icon leaves the bus", func() bool {
		_, err := icon.menu()
		return err != nil
	})
}

func TestIconTellsTheMood(t *testing.T) {
	at := socket(t)
	startBus(t, at)
	panel := newPanel(t, at)
	p := startDemo(t, "unix:path="+at)
	icon := panel.icon(t)
	seen := map[string]bool{}
	for _, c := range []struct{ state, header string }{
		{"uploading", "1 transfer"}, {"paused", "1 paused"}, {"failed", "1 failed"}, {"done", "no transfers"},
	} {
		p.tell(event(job(1, c.state)))
		icon.wait(c.header)
		eventually(t, "another picture for "+c.state, func() bool {
			pix := icon.property("IconPixmap").String()
			fresh := !seen[pix]
			seen[pix] = true
			return fresh
		})
		eventually(t, "a tooltip for "+c.state, func() bool {
			return strings.Contains(icon.property("ToolTip").String(), "Berth: "+c.header)
		})
	}
	p.end()
}

// TestWaitsForADesktop starts the tray before there is a bus, then gives it
// one without a panel, then the panel, then takes the bus away and brings back
// another.
func TestWaitsForADesktop(t *testing.T) {
	at := socket(t)
	p := startDemo(t, "unix:path="+at)
	p.tell(event(job(1, "uploading")))
	for range 2 {
		bus := startBus(t, at)
		panel := newPanel(t, at)
		icon := panel.icon(t)
		icon.wait("file1", "Pause")
		stop(bus)
		if err := os.Remove(at); err != nil {
			t.Fatal(err)
		}
	}
	p.end()
}

// TestPanelRestarts takes only the panel away: the icon comes to the next one.
func TestPanelRestarts(t *testing.T) {
	at := socket(t)
	startBus(t, at)
	p := startDemo(t, "unix:path="+at)
	p.tell(event(job(1, "uploading")))
	for range 3 {
		panel := newPanel(t, at)
		icon := panel.icon(t)
		icon.click("file1", "Pause")
		p.expect("pause j1")
		icon.click("file1", "Resume")
		p.expect("resume j1")
		panel.conn.Close()
	}
	p.end()
}

func TestFollowsTheController(t *testing.T) {
	at := socket(t)
	startBus(t, at)
	panel := newPanel(t, at)
	p := startDemo(t, "unix:path="+at)
	p.tell(event(job(1, "uploading")))
	icon := panel.icon(t)
	icon.wait("file1", "Pause")
	p.tell(control.Event{Type: "draining"})
	icon.wait("the controller is ending")
	icon.disabled("file1", "Pause")
	p.tell(control.Event{Type: "lost"})
	icon.wait("1 transfer")
	icon.click("file1", "Pause")
	p.expect("pause j1")
	p.end()
}

// TestMenuHoldsStillWhileOpen: lxqt's panel closes an open menu that changes.
func TestMenuHoldsStillWhileOpen(t *testing.T) {
	at := socket(t)
	startBus(t, at)
	panel := newPanel(t, at)
	p := startDemo(t, "unix:path="+at)
	icon := panel.icon(t)
	p.tell(event(job(1, "uploading")))
	p.tell(event(job(2, "uploading")))
	icon.wait("file1  —  uploading")
	icon.wait("file2  —  uploading")
	picture := icon.property("IconPixmap").String()
	icon.event("opened", 0)
	p.tell(event(job(1, "failed")))
	eventually(t, "the icon of a failure", func() bool { return icon.property("IconPixmap").String() != picture })
	for range 20 { // several times as long as changes wait otherwise
		icon.wait("file1  —  uploading")
		time.Sleep(50 * time.Millisecond)
	}
	icon.click("file2", "Pause")
	p.expect("pause j2")
	icon.wait("file1  —  failed")
	icon.wait("file2  —  paused")
	p.end()
}

func TestAvailable(t *testing.T) {
	at := socket(t)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+at)
	if err := Available(t.Context()); !errors.Is(err, ErrNoPlace) || !strings.Contains(err.Error(), "no session bus") {
		t.Errorf("without a bus: %v", err)
	}
	startBus(t, at)
	if err := Available(t.Context()); !errors.Is(err, ErrNoPlace) || !strings.Contains(err.Error(), "no panel") {
		t.Errorf("without a panel: %v", err)
	}
	newPanel(t, at)
	if err := Available(t.Context()); err != nil {
		t.Errorf("with a panel: %v", err)
	}
}

// TestNoBusAtAll ends a tray that never found a desktop, and holds that it did
// not start a bus to have one.
func TestNoBusAtAll(t *testing.T) {
	at := socket(t)
	p := startDemo(t, "unix:path="+at)
	p.tell(event(job(1, "uploading")))
	p.end()
	if entries, err := os.ReadDir(filepath.Dir(at)); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v %v", slices.Collect(func(yield func(string) bool) {
			for _, e := range entries {
				yield(e.Name())
			}
		}), err)
	}
}
