package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"berth/control"
	"berth/ipc"
	"berth/portshare"
	"berth/session"
)

// sendOptions are the flags of `send`.
type sendOptions struct {
	to, name           string
	memory, wait, json bool
}

func (s *simulator) sendCommand() *cobra.Command {
	var o sendOptions
	c := command("send FILE…", "Hand files over to the controller, then print their links", cobra.MinimumNArgs(1))
	c.Flags().StringVar(&o.to, "to", "", "`destination`; default: the controller's default")
	c.Flags().StringVar(&o.name, "name", "", "name of the package; default: the first file's")
	c.Flags().BoolVar(&o.memory, "memory", false, "hand the bytes over through shared memory, as an add-in does with an attachment that is no file")
	c.Flags().BoolVar(&o.wait, "wait", false, "wait until everything has arrived")
	c.Flags().BoolVar(&o.json, "json", false, "print the job as JSON")
	s.sessionFlag(c)
	c.RunE = func(c *cobra.Command, files []string) error { return s.send(c.Context(), o, files) }
	return c
}

// send is all that a companion does.
func (s *simulator) send(ctx context.Context, o sendOptions, files []string) error {
	sess, err := s.session()
	if err != nil {
		return err
	}

	// 1. Find the controller of this session, or start it.
	rec, info, err := portshare.Ensure(ctx, sess, app, nil)
	if err != nil {
		return &exitError{4, err}
	}
	defer rec.Close()

	// 2.-4. Register, build a package, commit it.
	job, err := deliver(ctx, sess, info, o, files)
	if err != nil {
		return err
	}

	// 5. Wait, if anybody wants to.
	if o.wait {
		if job, err = s.await(ctx, client(sess), job); err != nil {
			if o.json { // how far it came, for programs
				err = errors.Join(err, s.printJob(job, true))
			}
			return err
		}
	}

	// 6. The links are for the mail body.
	return s.printJob(job, o.json)
}

// deliver registers with the engine and hands a package over.
func deliver(ctx context.Context, sess session.Session, info portshare.Info, o sendOptions, files []string) (control.Job, error) {
	// 2. Register: from here on this process and the engine share a block.
	//    Its name is its own: another of this program may run beside it.
	engine, err := ipc.Dial(ctx, info.Endpoint, fmt.Sprintf("addin-sim-%d", os.Getpid()))
	if err != nil {
		return control.Job{}, unregistered(err)
	}
	defer engine.Close()

	// 3. Collect the files in a package.
	if o.name == "" {
		o.name = filepath.Base(files[0])
	}
	pkg, err := client(sess).Collect(ctx, control.NewPackage{Name: o.name, Destination: o.to}, engine)
	if err != nil {
		return control.Job{}, err
	}
	for _, f := range files {
		if err := add(ctx, pkg, f, o.memory); err != nil {
			discard(ctx, pkg)
			return control.Job{}, err
		}
	}

	// 4. Commit: once this returns, the controller delivers the package, whatever
	//    happens to this process.
	return pkg.Commit(ctx)
}

// unregistered gives the error of a registration its exit code: 4 is for an engine that
// isn't there, and 5 for one that won't have this companion.
func unregistered(err error) error {
	switch {
	case errors.Is(err, ipc.ErrPeer):
		return &exitError{4, err}
	case errors.Is(err, ipc.ErrRefused), errors.Is(err, ipc.ErrVersion):
		return &exitError{5, err}
	}
	return err
}

// refused tells whether something is not this user's to use, whoever says so.
func refused(err error) bool {
	return errors.Is(err, session.ErrUnsafe) || errors.Is(err, portshare.ErrRefused)
}

// discard gives up a package that can't be completed. It is a courtesy: the
// controller forgets packages that nobody commits.
func discard(ctx context.Context, pkg *control.Builder) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = pkg.Discard(ctx)
}

// client talks to the controller over the shared port. Whenever the controller
// has gone it finds the next one, and starts it if need be.
func client(sess session.Session) *control.Client {
	return &control.Client{Resolve: func(ctx context.Context) (control.Target, error) {
		rec, info, err := portshare.Ensure(ctx, sess, app, nil)
		if err != nil {
			return control.Target{}, err
		}
		return control.Target{
			Addr: fmt.Sprintf("127.0.0.1:%d", info.Port), CertSHA256: info.CertSHA256, Key: info.Key,
		}, rec.Close()
	}}
}

// add hands one file over: by its path, or byte by byte through shared memory.
func add(ctx context.Context, pkg *control.Builder, file string, memory bool) error {
	path, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	if !memory {
		_, err = pkg.AddFile(ctx, path, "")
		return err
	}
	f, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = pkg.AddReader(ctx, filepath.Base(path), f)
	return err
}

// open opens a regular file; what cannot be sent is refused in the words in which
// the controller refuses a path.
func open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist. Check the path and add it again.", path)
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file. Only regular files can be sent.", path)
	case err == nil:
		var f *os.File
		if f, err = os.Open(path); err == nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("%s cannot be read: %w. Check the file and retry.", path, err)
}

// await watches the job to its end, through crashes of the controller. When
// somebody ends the controller on purpose it is not started again for this.
func (s *simulator) await(ctx context.Context, client *control.Client, job control.Job) (control.Job, error) {
	shown := newProgress(s.err)
	defer shown.end()
	for ev := range client.Watch(ctx) {
		if ev.Type == control.EventDraining {
			return job, &exitError{4, fmt.Errorf("the controller is ending; job %s goes on with the next one", job.ID)}
		}
		if ev.Type != control.EventJob || ev.Job.ID != job.ID {
			continue
		}
		job = *ev.Job
		shown.show(job)
		switch job.State {
		case "done":
			return job, nil
		case "failed":
			return job, &control.Error{
				Code: cmp.Or(job.ErrorCode, control.CodeFailed), Message: fmt.Sprintf("job %s failed: %s", job.ID, job.Error),
				Next: "Mend the cause, then run `controller retry " + job.ID + "`.",
			}
		case "canceled":
			return job, fmt.Errorf("job %s was canceled", job.ID)
		}
	}
	return job, fmt.Errorf("stopped waiting for job %s, which goes on in the background\nSee `controller list`.", job.ID)
}

func (s *simulator) printJob(job control.Job, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(s.out)
		e.SetEscapeHTML(false)
		return e.Encode(job)
	}
	fmt.Fprintln(s.out, job.ID, job.State)
	for _, link := range job.Links {
		fmt.Fprintln(s.out, link)
	}
	return nil
}
