package tray

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"berth/control"
)

// ErrNoTray says that this build has no tray: macOS without cgo.
var ErrNoTray = errors.New("this build has no tray icon; use the monitor page or the command line, or build with cgo")

// ErrNoPlace is wrapped by the error of [Available] when the desktop has no
// place for tray icons.
var ErrNoPlace = errors.New("there is no place for a tray icon")

// Available reports whether an icon could be shown right now: nil, [ErrNoTray],
// or an error that says what is missing and what to do. It shows nothing.
func Available(ctx context.Context) error { return available(ctx) }

// Service is what the tray needs of a controller: [control.Client] from outside
// it, or any [control.Service] inside it.
type Service interface {
	control.Jobs
	Quit(ctx context.Context) error
}

// Config says what the tray shows and does.
type Config struct {
	Service Service // required

	// Open shows the monitor page. Nil leaves the line out of the menu.
	Open func(context.Context) error

	// Exit is called at most once, when the desktop is about to end the whole
	// process: on Windows at logoff and shutdown, on macOS also after Run's
	// context is done, because the library there cannot leave in any other
	// way. The process may be gone as soon as Exit returns, so Exit returns
	// when the program's work is safe. Nil is allowed.
	Exit func()

	// Log takes what goes wrong; nil is slog.Default.
	Log *slog.Logger
}

// Run shows the tray until ctx is done; then it returns nil. Where there is no
// desktop it waits for one, showing nothing and reading nothing, and it leaves
// with the desktop's message bus and comes back with the next. It returns
// [ErrNoTray] at once when the build has no tray, and other errors when the
// library fails; the caller then goes on without a tray.
//
// The libraries keep their state in their packages, so a process calls Run
// once. On macOS it must be called from the main goroutine and the rest of the
// program must run in others, since Run never returns there; elsewhere any
// goroutine will do.
func Run(ctx context.Context, cfg Config) error {
	return run(ctx, cfg, usualPace())
}

func run(ctx context.Context, cfg Config, p pace) (err error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &tray{
		cfg: cfg, pace: p, done: ctx.Done(), cancel: cancel,
		presses:  make(chan press, 16),
		commands: make(chan command, 16),
		updates:  make(chan update),
		shows:    make(chan bool),
	}
	defer t.tasks.Wait()
	defer cancel()
	defer t.guard(&err)
	return t.host(ctx)
}

// tray is one run.
type tray struct {
	cfg    Config
	pace   pace
	done   <-chan struct{} // of the run's context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	presses  chan press   // from the library
	commands chan command // to the controller
	updates  chan update  // from the controller
	shows    chan bool    // whether a desktop is there, from the host
}

// guard turns a panic of ours or of the library's into an error, so that it
// ends the tray and not the transfers of the same process.
func (t *tray) guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the tray icon failed and is gone until the next start; transfers go on: %v", p)
		t.cancel()
	}
}

// guarded runs f, and reports its panic.
func (t *tray) guarded(f func()) {
	var err error
	defer func() {
		if err != nil {
			t.cfg.Log.Error("tray", "error", err)
		}
	}()
	defer t.guard(&err)
	f()
}

// build makes the menu and starts what keeps it true. The library calls it
// once, when lines can be added.
func (t *tray) build(ctx context.Context, kit toolkit) {
	t.guarded(func() {
		d := newDriver(kit, t.listen, t.cfg.Open != nil)
		for _, f := range []func(){
			func() { follow(ctx, t.cfg.Service, t.updates) },
			func() { t.loop(ctx, d) },
			func() { t.serve(ctx) },
		} {
			t.tasks.Go(func() { t.guarded(f) })
		}
	})
}

// listen passes the clicks of one line on. A press that finds the queue full
// is dropped: nobody clicks sixteen times ahead on purpose.
func (t *tray) listen(clicks <-chan struct{}, p press) {
	t.tasks.Go(func() {
		for {
			select {
			case <-clicks:
			case <-t.done:
				return
			}
			select {
			case t.presses <- p:
			default:
			}
		}
	})
}

// show tells the loop whether a desktop is there, and returns when it knows.
func (t *tray) show(there bool) {
	select {
	case t.shows <- there:
	case <-t.done:
	}
}

// loop owns the model and the driver.
func (t *tray) loop(ctx context.Context, d *driver) {
	m := newModel()
	due := time.NewTimer(0)
	defer due.Stop()
	there, dirty := false, true
	plan := pacer{pace: t.pace}
	for {
		select {
		case <-ctx.Done():
			return
		case there = <-t.shows:
		case u := <-t.updates:
			u.to(m)
			dirty = true
			if there {
				d.look(m.mood(m.tally()))
			}
		case p := <-t.presses:
			plan.hurry(time.Now())
			t.order(d, p)
		case <-due.C:
			if !there || !dirty {
				continue
			}
			if d.kit.busy(plan.clicked) {
				due.Reset(t.pace.busy)
				continue
			}
			t.orderWaiting(d)
			if d.apply(m.menu(), time.Now()) {
				plan.applied(time.Now())
			}
			dirty = false
		}
		if there && dirty {
			due.Reset(plan.wait(time.Now()))
		}
	}
}

// orderWaiting handles the presses made before a change of the menu, which
// must be understood by what the menu showed when they were made.
func (t *tray) orderWaiting(d *driver) {
	for {
		select {
		case p := <-t.presses:
			t.order(d, p)
		default:
			return
		}
	}
}

func (t *tray) order(d *driver, p press) {
	c, ok := d.command(p, time.Now())
	if !ok {
		return
	}
	select {
	case t.commands <- c:
	default:
		t.cfg.Log.Warn("tray: the controller is too slow to take another command; try again", "command", c)
	}
}
