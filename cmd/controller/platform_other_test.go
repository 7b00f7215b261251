//go:build !linux

package main

import "github.com/rogpeppe/go-internal/testscript"

// platformCommands are the commands of scripts that only this system has.
func platformCommands() map[string]func(*testscript.TestScript, bool, []string) { return nil }

func grab(int) int { return 2 }
