package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"time"

	"berth/control"
	"berth/portshare"
)

// sawPort checks that a session keeps its port for an epoch.
func (w *world) sawPort(port int) {
	if w.port == 0 {
		w.port = port
	}
	if port == 0 || port != w.port {
		w.breach("a companion saw port %d, others port %d", port, w.port)
	}
}

// sawController checks that a generation has one controller.
func (w *world) sawController(g sighting) {
	w.sawPort(g.Port)
	if pid, known := w.generations[g.Generation]; known && pid != g.PID {
		w.breach("generation %d has two controllers: pid %d and %d", g.Generation, pid, g.PID)
	}
	w.generations[g.Generation] = g.PID
	w.pids[g.PID], w.everyPID[g.PID] = true, true
}

// checkSuccession checks that a controller was followed by another one only
// because it was killed: of all that were seen in this epoch, one was not.
func (w *world) checkSuccession() {
	var survivors []int
	for pid := range w.pids {
		if !w.killed[pid] {
			survivors = append(survivors, pid)
		}
	}
	if len(survivors) > 1 {
		w.breach("controllers %v were seen, and none of them was killed", survivors)
	}
}

// collect takes in what the companions of this round have told.
func (w *world) collect() {
	for _, p := range w.running {
		for _, g := range p.sightings() {
			switch {
			case g.Error != "":
				w.breach("a companion could not hand over: %s", g.Error)
			case g.Job != "":
				w.accepted[g.Job] = p.file.sha256
			default:
				w.sawController(g)
			}
		}
	}
	w.running = nil
}

// settle waits for a session to come to rest and checks it: one controller, all
// accepted packages delivered, none of another session.
func (s *simulation) settle(ctx context.Context, w *world) {
	w.awaitCompanions(ctx)
	started := w.controllers()
	w.collect()
	rec, info, err := s.answering(ctx, w)
	if err != nil {
		w.breach("no controller at the end of the round: %v", err)
		return
	}
	defer rec.Close()
	w.sawController(sighting{Port: info.Port, PID: info.PID, Generation: info.Generation})
	w.checkSuccession()
	w.checkLosers(ctx, started, info.PID)
	w.secondStart(ctx, s.controller)
	w.checkJobs(ctx, s.client(rec))
}

// answering finds the controller of w, starting one if need be, and has it answer:
// one that was just killed counts as listening until the system has buried it.
func (s *simulation) answering(ctx context.Context, w *world) (*portshare.Record, portshare.Info, error) {
	for {
		rec, info, err := portshare.Ensure(ctx, w.session, app, func() error {
			s.spawn(w, s.controller, "run", "--no-tray")
			return nil
		})
		if err != nil {
			return nil, info, err
		}
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		st, err := s.client(rec).Status(short)
		cancel()
		if err == nil && st.PID == info.PID {
			return rec, info, nil
		}
		_ = rec.Close()
		if ctx.Err() != nil {
			return nil, info, err
		}
	}
}

// client asks the record that the simulation takes part in: who starts a
// controller here must be this simulation, with the environment of w.
func (s *simulation) client(rec *portshare.Record) *control.Client {
	return &control.Client{Resolve: func(ctx context.Context) (control.Target, error) {
		info, err := rec.Listening(ctx)
		return control.Target{
			Addr: fmt.Sprintf("127.0.0.1:%d", info.Port), CertSHA256: info.CertSHA256, Key: info.Key,
		}, err
	}}
}

// awaitCompanions waits for those who hand something over. Controllers that
// were started beside them end by themselves when they are not needed.
func (w *world) awaitCompanions(ctx context.Context) {
	for _, p := range w.running {
		if p.file.path == "" {
			continue
		}
		select {
		case <-p.done:
		case <-ctx.Done():
			w.breach("a companion is still at work after %v", roundTime)
			p.kill()
		}
	}
}

// controllers are those that were started directly in this round.
func (w *world) controllers() (all []*process) {
	for _, p := range w.running {
		if p.file.path == "" {
			all = append(all, p)
		}
	}
	return all
}

// checkLosers checks that every controller that was started but is not the one
// has ended, and because it found the session taken.
func (w *world) checkLosers(ctx context.Context, started []*process, holder int) {
	for _, p := range started {
		pid := p.cmd.Process.Pid
		if pid == holder {
			continue
		}
		select {
		case <-p.done:
			if code := p.cmd.ProcessState.ExitCode(); code != 3 && !w.killed[pid] {
				w.breach("a controller that was not needed ended with %d instead of 3", code)
			}
		case <-ctx.Done():
			w.breach("controller pid %d runs beside pid %d", pid, holder)
			p.kill()
		}
	}
}

// secondStart checks that another start finds the session taken.
func (w *world) secondStart(ctx context.Context, controller string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // one that becomes the controller does not end
	defer cancel()
	cmd := exec.CommandContext(ctx, controller, "run", "--no-tray")
	cmd.Env = w.env
	text, err := cmd.CombinedOutput()
	if code := exitCode(err); code != 3 {
		w.breach("a second controller ended with %d instead of 3: %s", code, text)
	}
}

// checkJobs waits until everything accepted is delivered, then compares it.
func (w *world) checkJobs(ctx context.Context, c *control.Client) {
	missing := map[string]bool{}
	for id := range w.accepted {
		missing[id] = true
	}
	for ev := range c.Watch(ctx) {
		if ev.Type == control.EventJob {
			w.checkJob(ctx, ev.Job, missing)
		}
		if ev.Type == control.EventReady {
			w.checkKnown(ctx, c, missing)
		}
		if len(missing) == 0 {
			return
		}
	}
	if len(missing) > 0 {
		w.breach("%d accepted packages were not delivered", len(missing))
	}
}

// checkKnown catches accepted packages that the controller knows nothing of: no
// event would ever come for them.
func (w *world) checkKnown(ctx context.Context, c *control.Client, missing map[string]bool) {
	jobs, err := c.List(ctx, control.Filter{})
	if err != nil {
		return // the watch goes on and meets the next controller
	}
	known := map[string]bool{}
	for _, j := range jobs {
		known[j.ID] = true
	}
	for id := range missing {
		if !known[id] {
			w.breach("job %s was accepted and is lost", id)
			delete(missing, id)
		}
	}
}

func (w *world) checkJob(ctx context.Context, j *control.Job, missing map[string]bool) {
	switch j.State {
	case "failed", "canceled":
		w.breach("job %s %s: %s", j.ID, j.State, j.Error)
		delete(missing, j.ID)
	case "done":
		for _, it := range j.Items {
			w.checkItem(ctx, it)
		}
		if want, ours := w.accepted[j.ID]; ours && (len(j.Items) != 1 || j.Items[0].SHA256 != want) {
			w.breach("job %s does not hold what its companion handed over", j.ID)
		}
		delete(missing, j.ID)
	}
}

// checkItem fetches the delivered bytes and looks for them among what this
// session's companions were given.
func (w *world) checkItem(ctx context.Context, it control.Item) {
	sum, err := fetch(ctx, it.Link)
	switch {
	case err != nil:
		w.breach("the link of %s: %v", it.Name, err)
	case !w.payloads[sum]:
		w.breach("%s came from another session, or was damaged", it.Name)
	case sum != it.SHA256:
		w.breach("%s arrived as %s, reported as %s", it.Name, sum, it.SHA256)
	default:
		w.delivered++
	}
}

func fetch(ctx context.Context, link string) (sha string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s", resp.Status)
	}
	h := sha256.New()
	_, err = io.Copy(h, resp.Body)
	return hex.EncodeToString(h.Sum(nil)), err
}

// comparePorts checks that no two sessions have the same port.
func (s *simulation) comparePorts() {
	owner := map[int]string{}
	for _, w := range s.worlds {
		if other, taken := owner[w.port]; taken && w.port != 0 {
			w.breach("port %d is also the port of %s", w.port, other)
		}
		owner[w.port] = w.name
	}
}

// end asks every controller to quit and checks that nothing is left.
func (s *simulation) end() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, w := range s.worlds {
		s.endWorld(ctx, w)
	}
	clean := true
	for _, w := range s.worlds { // only now: a number may have gone to a controller of another session
		for pid := range w.everyPID {
			w.awaitDeath(ctx, pid, s.controller)
		}
		clean = clean && len(w.breaches) == 0
	}
	http.DefaultClient.CloseIdleConnections()
	if clean {
		_ = os.RemoveAll(s.dir)
	}
}

func (s *simulation) endWorld(ctx context.Context, w *world) {
	for _, p := range w.running {
		if p.file.path != "" {
			p.kill()
		}
	}
	quit := exec.CommandContext(ctx, s.controller, "quit")
	quit.Env = w.env
	if text, err := quit.CombinedOutput(); err != nil && len(w.pids) > 0 {
		w.breach("quit: %v: %s", err, text)
	}
	if w.anchor != nil {
		w.anchor.kill()
	}
	if dir, err := w.session.RuntimeDir(); err == nil {
		_ = os.RemoveAll(dir)
	}
}

// awaitDeath waits until a controller that was seen has ended.
func (w *world) awaitDeath(ctx context.Context, pid int, controller string) {
	for runs(pid, controller) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			w.breach("controller pid %d is left behind", pid)
			return
		}
	}
}
