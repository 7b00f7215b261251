package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"berth/portshare"
)

func (s *simulator) portCommand() *cobra.Command {
	var hold time.Duration
	c := command("port", "Print the port shared by this session: the first one scans and publishes, all others find it", cobra.NoArgs)
	c.Flags().DurationVar(&hold, "hold", 0, "stay a participant for so long, so that the port stays known")
	s.sessionFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return s.port(c.Context(), hold) }
	return c
}

func (s *simulator) port(ctx context.Context, hold time.Duration) error {
	sess, err := s.session()
	if err != nil {
		return err
	}
	rec, err := portshare.Join(sess, app)
	if err != nil {
		return err
	}
	defer rec.Close()
	info, err := rec.Info()
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, info.Port)
	select {
	case <-time.After(hold):
	case <-ctx.Done():
	}
	return nil
}
