// Command serve starts a real file server for a try by hand or a script: tusd,
// vsftpd or sshd, on loopback, until its input ends or it is interrupted. It
// prints one line of JSON that says where the server is and how to be let in.
//
//	go run ./transfer/transfertest/serve vsftpd [directory]
package main

import (
	"fmt"
	"os"

	"berth/transfer/transfertest/servers"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 || len(args) > 2 {
		return fmt.Errorf("usage: serve tusd|vsftpd|sshd [directory]")
	}
	if len(args) == 2 {
		return servers.Serve(args[0], args[1], os.Stdout)
	}
	dir, err := os.MkdirTemp("", "berth-serve-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	return servers.Serve(args[0], dir, os.Stdout)
}
