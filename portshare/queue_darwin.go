package portshare

import (
	"errors"

	"golang.org/x/sys/unix"
)

// queue is a kqueue that one goroutine waits on and any other may interrupt.
type queue struct{ fd int }

// interruptID names the user event of a queue.
const interruptID = 1

func newQueue() (*queue, error) {
	fd, err := unix.Kqueue()
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	q := &queue{fd: fd}
	if err := q.add(userEvent(0)); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return q, nil
}

func userEvent(flags uint32) unix.Kevent_t {
	ev := unix.Kevent_t{Fflags: flags}
	unix.SetKevent(&ev, interruptID, unix.EVFILT_USER, unix.EV_ADD|unix.EV_CLEAR)
	return ev
}

// add registers an event. EV_RECEIPT makes the kernel report the outcome of this
// change and no pending event of another filter.
func (q *queue) add(ev unix.Kevent_t) error {
	ev.Flags |= unix.EV_RECEIPT
	out := make([]unix.Kevent_t, 1)
	for {
		n, err := unix.Kevent(q.fd, []unix.Kevent_t{ev}, out, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 1 && out[0].Data != 0:
			return unix.Errno(out[0].Data)
		}
		return nil
	}
}

// interrupt makes the present or the next wait return true.
func (q *queue) interrupt() {
	ev := userEvent(unix.NOTE_TRIGGER)
	unix.Kevent(q.fd, []unix.Kevent_t{ev}, nil, nil) //nolint:errcheck // a valid event on an open queue
}

// wait sleeps until a registered event, and tells whether it was interrupt.
func (q *queue) wait() bool {
	events := make([]unix.Kevent_t, 4)
	for {
		n, err := unix.Kevent(q.fd, nil, events, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		for _, ev := range events[:max(n, 0)] {
			if ev.Filter == unix.EVFILT_USER {
				return true
			}
		}
		return err != nil
	}
}

func (q *queue) close() {
	unix.Close(q.fd)
}
