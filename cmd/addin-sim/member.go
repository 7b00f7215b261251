package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"berth/control"
	"berth/portshare"
	"berth/session"
)

// memberPatience is how long a companion of a simulation tries to hand its file
// over while controllers die around it.
const memberPatience = time.Minute

// sighting is what a companion of a simulation saw, one JSON object per line.
type sighting struct {
	Port       int    `json:"port"`
	PID        int    `json:"pid"` // of the controller
	Generation uint64 `json:"generation"`
	Job        string `json:"job,omitempty"`   // accepted
	Error      string `json:"error,omitempty"` // given up
}

// memberCommand is one companion of a simulation: it hands one file over, tries
// again when the controller dies under its hands, and tells what it saw.
func (s *simulator) memberCommand() *cobra.Command {
	var o sendOptions
	c := command("member FILE", "One companion of `switch`", cobra.ExactArgs(1))
	c.Hidden = true
	c.Flags().BoolVar(&o.memory, "memory", false, "hand the bytes over through shared memory")
	s.sessionFlag(c)
	c.RunE = func(c *cobra.Command, files []string) error { return s.member(c.Context(), o, files) }
	return c
}

func (s *simulator) member(ctx context.Context, o sendOptions, files []string) error {
	sess, err := s.session()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, memberPatience)
	defer cancel()
	for {
		job, err := s.attempt(ctx, sess, o, files)
		if err == nil {
			return s.saw(sighting{Job: job.ID})
		}
		select {
		case <-ctx.Done():
			return s.saw(sighting{Error: err.Error()})
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// attempt is one hand-over. What it saw of the controller is told before the
// outcome is known.
func (s *simulator) attempt(ctx context.Context, sess session.Session, o sendOptions, files []string) (control.Job, error) {
	rec, info, err := portshare.Ensure(ctx, sess, app, nil)
	if err != nil {
		return control.Job{}, fmt.Errorf("no controller: %w", err)
	}
	defer rec.Close()
	if err := s.saw(sighting{Port: info.Port, PID: info.PID, Generation: info.Generation}); err != nil {
		return control.Job{}, err
	}
	return deliver(ctx, sess, info, o, files)
}

func (s *simulator) saw(g sighting) error { return json.NewEncoder(s.out).Encode(g) }
