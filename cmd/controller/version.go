package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// version is set by the linker when a release is built, and by nothing else.
var version = "devel"

func (p *program) versionCommand() *cobra.Command {
	c := command("version", "Print the version", cobra.NoArgs)
	c.RunE = func(*cobra.Command, []string) error {
		_, err := fmt.Fprintf(p.out, "controller %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	}
	return c
}
