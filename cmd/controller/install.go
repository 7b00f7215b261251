package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"berth/installer"
)

func (p *program) installCommand() *cobra.Command {
	var allUsers bool
	c := command("install", "Start the controller in every session from now on", cobra.NoArgs)
	c.Flags().BoolVar(&allUsers, "all-users", false, "for every user of this machine; needs administrator's rights")
	c.RunE = func(*cobra.Command, []string) error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		if err := installer.Install(installer.Options{AllUsers: allUsers, Executable: self}); err != nil {
			return installError(err)
		}
		fmt.Fprintf(p.out, "%s starts with every session from now on\nNext: log in anew, or run `controller run`.\n", self)
		return nil
	}
	return c
}

func (p *program) uninstallCommand() *cobra.Command {
	var allUsers bool
	c := command("uninstall", "Start the controller no more; jobs and settings stay", cobra.NoArgs)
	c.Flags().BoolVar(&allUsers, "all-users", false, "for every user of this machine; needs administrator's rights")
	c.RunE = func(*cobra.Command, []string) error {
		if err := installer.Uninstall(installer.Options{AllUsers: allUsers}); err != nil {
			return installError(err)
		}
		fmt.Fprintln(p.out, "the controller starts with no session any more; the one that runs goes on until `controller quit`")
		return nil
	}
	return c
}

func installError(err error) error {
	if errors.Is(err, installer.ErrNotAllowed) {
		return withCode(exitRefused, err)
	}
	return err
}
