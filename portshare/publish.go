package portshare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// dyingPatience is how long Listen waits for a holder that is on its way out.
const dyingPatience = 5 * time.Second

// Listen listens on the record's port, for the controller, which has the instance lock
// of package singleton. When somebody else has taken the port, Listen finds another and
// publishes it as reserved. The listener is the caller's. Call [Record.Publish] when
// the server is ready to answer.
//
// A process that is killed loses its locks before it counts as dead, so the record may
// still name the last controller as alive: Listen waits up to 5 seconds for its end
// before it fails with [ErrHeld].
func (r *Record) Listen() (net.Listener, error) {
	ln, err := r.takeOver()
	if errors.Is(err, ErrHeld) {
		ctx, cancel := context.WithTimeout(r.running, r.dyingPatience)
		defer cancel()
		free := func(i Info) bool { return r.mayHold(i) == nil }
		if _, waitErr := r.Wait(ctx, free); waitErr == nil {
			ln, err = r.takeOver()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listen on the session's port: %w", err)
	}
	return ln, nil
}

// takeOver listens on the record's port unless there is a holder.
func (r *Record) takeOver() (net.Listener, error) {
	var ln net.Listener
	info, err := r.update(func(info Info) (Info, error) {
		err := r.mayHold(info)
		if err == nil {
			err = r.grip()
		}
		if err == nil {
			info, ln, err = r.listen(info)
		}
		return info, err
	})
	if err != nil {
		if ln != nil {
			ln.Close()
		}
		return nil, err
	}
	r.mu.Lock()
	r.serving = info.Port
	r.mu.Unlock()
	return ln, nil
}

// listen tries the reserved port, and then others: where a port cannot be reserved,
// each may be lost again between the scan and the listening.
func (r *Record) listen(info Info) (Info, net.Listener, error) {
	const attempts = 16
	var lost error
	for range attempts {
		ln, err := listen(info.Port)
		if err == nil || !taken(err) {
			return info, ln, err
		}
		lost = err
		if info, err = r.rescan(info); err != nil {
			return info, nil, err
		}
	}
	return info, nil, fmt.Errorf("%w: lost %d ports one after the other: %w", ErrNoPort, attempts, lost)
}

// mayHold fails unless this process is, or can become, the holder.
func (r *Record) mayHold(info Info) error {
	if info.held() && info.holder() != r.me {
		return fmt.Errorf("%w: pid %d", ErrHeld, info.PID)
	}
	return nil
}

// Publish tells everybody that this process listens on the port that Listen gave
// it, and how to talk to it: generation + 1, with a key and a certificate that must be
// new. It returns what was published.
func (r *Record) Publish(endpoint string, key, certSHA256 [32]byte) (Info, error) {
	if key == [32]byte{} || certSHA256 == [32]byte{} {
		return Info{}, errors.New("publish: the key and the certificate's hash must not be zero")
	}
	if err := checkEndpoint(endpoint); err != nil {
		return Info{}, fmt.Errorf("publish: %w", err)
	}
	info, err := r.update(func(info Info) (Info, error) {
		if err := r.mayHold(info); err != nil {
			return info, err
		}
		r.mu.Lock()
		serving := r.serving
		r.mu.Unlock()
		if serving == 0 || serving != info.Port {
			return info, fmt.Errorf("%w: the port is %d, this process listens on %d; call Listen again", ErrStale, info.Port, serving)
		}
		return Info{
			State: Listening, Generation: info.Generation + 1, Port: info.Port,
			PID: r.me.pid, Start: r.me.start, namespace: r.me.namespace,
			Endpoint: endpoint, Key: key, CertSHA256: certSHA256,
		}, nil
	})
	if err != nil {
		return info, fmt.Errorf("publish: %w", err)
	}
	return info, nil
}

// Drain tells everybody that this controller lives on for a moment but accepts
// nothing new. It fails with [ErrHeld] unless this process is the holder.
func (r *Record) Drain() error {
	_, err := r.update(func(info Info) (Info, error) {
		if !info.held() || info.holder() != r.me {
			return info, fmt.Errorf("drain: %w", ErrHeld)
		}
		info.State = Draining
		return info, nil
	})
	return err
}

// Withdraw takes this controller's entry back: the port stays reserved, keys are
// zeroed. It does nothing when nobody is listening, and fails with [ErrHeld] when
// somebody else is.
func (r *Record) Withdraw() error {
	_, err := r.update(withdraw(r.me))
	if err == nil {
		r.loosen()
	}
	return err
}

func withdraw(me process) func(Info) (Info, error) {
	return func(info Info) (Info, error) {
		switch {
		case !info.held():
			return info, nil
		case info.holder() != me:
			return info, fmt.Errorf("withdraw: %w: pid %d", ErrHeld, info.PID)
		}
		return info.released(), nil
	}
}
